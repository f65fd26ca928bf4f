package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"verdictd/internal/kernel"
)

// A topology is the namespaces of one run. Several roles may share one.
type topology struct {
	sender, receiver *kernel.NetNS
	queue            *kernel.NetNS // where the rules, the daemon, the watcher and conntrack are

	owned []*kernel.NetNS
}

// network is the addresses of one family. The senders' have their third octet or group to themselves, as the queue's
// balance hashes addresses only: it takes several sources to reach all queues.
type network struct {
	target        netip.Addr // the receiver's
	sources       netip.Addr // the first of the senders'
	senderGateway netip.Addr // the next hop from the sender
	targetGateway netip.Addr // the next hop from the receiver
	onLink        int        // prefix length of a link's network
}

var networks = map[string]network{
	"ipv4": {
		target:        netip.MustParseAddr("192.0.2.1"),
		sources:       netip.MustParseAddr("198.51.100.1"),
		senderGateway: netip.MustParseAddr("198.51.100.254"),
		targetGateway: netip.MustParseAddr("192.0.2.254"),
		onLink:        24,
	},
	"ipv6": {
		target:        netip.MustParseAddr("2001:db8:1::1"),
		sources:       netip.MustParseAddr("2001:db8:2::1"),
		senderGateway: netip.MustParseAddr("2001:db8:2::ffff"),
		targetGateway: netip.MustParseAddr("2001:db8:1::ffff"),
		onLink:        64,
	},
}

// sourceCount is how many addresses send. With two queues the hash leaves one of them idle once in 2^15.
const sourceCount = 16

func (n network) sourceList() []netip.Addr {
	list := make([]netip.Addr, sourceCount)
	for i, a := 0, n.sources; i < len(list); i, a = i+1, a.Next() {
		list[i] = a
	}
	return list
}

// newTopology makes the namespaces that a placement needs, with the addresses of some families: input and verdict3 need
// a peer, forward a router, and for the others everything is on one loopback.
func newTopology(placement string, families ...string) (_ *topology, err error) {
	var all []network
	for _, family := range families {
		n, ok := networks[family]
		if !ok {
			return nil, fmt.Errorf("no network is known for family %q", family)
		}
		all = append(all, n)
	}
	t := &topology{}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("make the namespaces for %s, %s: %w", placement, strings.Join(families, " and "), err), t.Close())
		}
	}()
	switch placement {
	case "input", "verdict3":
		err = t.twoHosts(all)
	case "forward":
		err = t.routed(all)
	default:
		err = t.loopback(all)
	}
	if err == nil {
		err = t.queue.ActivateConntrack()
	}
	return t, err
}

// Close gives the namespaces up. The kernel takes them down when the last process has left.
func (t *topology) Close() error {
	var errs []error
	for _, ns := range t.owned {
		errs = append(errs, ns.Close())
	}
	t.owned = nil
	return errors.Join(errs...)
}

// hosts makes empty namespaces.
func (t *topology) hosts(into ...**kernel.NetNS) error {
	for _, ns := range into {
		made, err := kernel.NewNetNS()
		if err != nil {
			return err
		}
		t.owned = append(t.owned, made)
		*ns = made
	}
	return nil
}

// masquerade makes the router of a topology for forward translate the senders' addresses and ports.
func (t *topology) masquerade() error { return t.queue.Masquerade(outerLink) }

// loopback is one host that sends to itself.
func (t *topology) loopback(all []network) error {
	if err := t.hosts(&t.queue); err != nil {
		return err
	}
	t.sender, t.receiver = t.queue, t.queue
	for _, n := range all {
		for _, a := range append(n.sourceList(), n.target) {
			if err := t.queue.AddAddress("lo", single(a)); err != nil {
				return err
			}
		}
	}
	return nil
}

// twoHosts is a sender and, over veth, a receiver that has the queue.
func (t *topology) twoHosts(all []network) error {
	if err := t.hosts(&t.sender, &t.receiver); err != nil {
		return err
	}
	t.queue = t.receiver
	sender := kernel.Endpoint{NetNS: t.sender, Link: "eth0"}
	receiver := kernel.Endpoint{NetNS: t.receiver, Link: "eth0"}
	for _, n := range all {
		if err := t.receiver.AddAddress("lo", single(n.target)); err != nil {
			return err
		}
		sender.Addresses = append(sender.Addresses, n.onLinks(n.sourceList()...)...)
		receiver.Addresses = append(receiver.Addresses, n.onLinks(n.senderGateway)...)
	}
	if err := kernel.AddVeth(sender, receiver); err != nil {
		return err
	}
	for _, n := range all {
		if err := t.sender.AddRoute(n.network(n.target), n.senderGateway); err != nil {
			return err
		}
	}
	return nil
}

// outerLink is the router's interface towards the receiver.
const outerLink = "eth1"

// routed is a sender, a router that has the queue, and a receiver.
func (t *topology) routed(all []network) error {
	if err := t.hosts(&t.sender, &t.queue, &t.receiver); err != nil {
		return err
	}
	sender := kernel.Endpoint{NetNS: t.sender, Link: "eth0"}
	inner := kernel.Endpoint{NetNS: t.queue, Link: "eth0"}
	outer := kernel.Endpoint{NetNS: t.queue, Link: outerLink}
	receiver := kernel.Endpoint{NetNS: t.receiver, Link: "eth0"}
	for _, n := range all {
		sender.Addresses = append(sender.Addresses, n.onLinks(n.sourceList()...)...)
		inner.Addresses = append(inner.Addresses, n.onLinks(n.senderGateway)...)
		outer.Addresses = append(outer.Addresses, n.onLinks(n.targetGateway)...)
		receiver.Addresses = append(receiver.Addresses, n.onLinks(n.target)...)
	}
	if err := errors.Join(kernel.AddVeth(sender, inner), kernel.AddVeth(outer, receiver), t.queue.EnableForwarding()); err != nil {
		return err
	}
	for _, n := range all {
		err := errors.Join(
			t.sender.AddRoute(n.network(n.target), n.senderGateway),
			t.receiver.AddRoute(n.network(n.sources), n.targetGateway),
		)
		if err != nil {
			return err
		}
	}
	return nil
}

// network is the on-link network that an address is in.
func (n network) network(a netip.Addr) netip.Prefix {
	return netip.PrefixFrom(a, n.onLink).Masked()
}

func (n network) onLinks(addresses ...netip.Addr) []netip.Prefix {
	list := make([]netip.Prefix, len(addresses))
	for i, a := range addresses {
		list[i] = netip.PrefixFrom(a, n.onLink)
	}
	return list
}

// single is the address alone, as it stands on a loopback interface.
func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }
