package netlab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
)

// A Topology is the namespaces of one run. Several roles may share one.
type Topology struct {
	Sender, Receiver *NetNS
	Queue            *NetNS // where the rules, the daemon, the watcher and conntrack are

	owned []*NetNS
}

// A Network is the addresses of one family. The senders' have their third octet or group to themselves, as the queue's
// balance hashes addresses only: it takes several sources to reach all queues.
type Network struct {
	Target        netip.Addr // the receiver's
	Second        netip.Addr // another one of the receiver's, see [Topology.Spread]
	Virtual       netip.Addr // nobody's, but of the target's network: see [Topology.Redirect]
	Sources       netip.Addr // the first of the senders'
	SenderGateway netip.Addr // the next hop from the sender
	TargetGateway netip.Addr // the next hop from the receiver
	OnLink        int        // prefix length of a link's network
}

// Networks are the addresses by family.
var Networks = map[string]Network{
	"ipv4": {
		Target:        netip.MustParseAddr("192.0.2.1"),
		Second:        netip.MustParseAddr("192.0.2.2"),
		Virtual:       netip.MustParseAddr("192.0.2.99"),
		Sources:       netip.MustParseAddr("198.51.100.1"),
		SenderGateway: netip.MustParseAddr("198.51.100.254"),
		TargetGateway: netip.MustParseAddr("192.0.2.254"),
		OnLink:        24,
	},
	"ipv6": {
		Target:        netip.MustParseAddr("2001:db8:1::1"),
		Second:        netip.MustParseAddr("2001:db8:1::2"),
		Virtual:       netip.MustParseAddr("2001:db8:1::99"),
		Sources:       netip.MustParseAddr("2001:db8:2::1"),
		SenderGateway: netip.MustParseAddr("2001:db8:2::ffff"),
		TargetGateway: netip.MustParseAddr("2001:db8:1::ffff"),
		OnLink:        64,
	},
}

// SourceCount is how many addresses send. With two queues the hash leaves one of them idle once in 2^15.
const SourceCount = 16

// SourceList is the addresses that send.
func (n Network) SourceList() []netip.Addr {
	list := make([]netip.Addr, SourceCount)
	for i, a := 0, n.Sources; i < len(list); i, a = i+1, a.Next() {
		list[i] = a
	}
	return list
}

// TopologyKind is how the roles are spread over namespaces.
type TopologyKind string

const (
	Loopback TopologyKind = "loopback"  // everything in one, over its loopback interface
	TwoHosts TopologyKind = "two hosts" // a sender and, over veth, a receiver that has the queue
	Routed   TopologyKind = "routed"    // a sender, a router that has the queue, and a receiver
)

// Families are what [Networks] has.
func Families() []string { return []string{"ipv4", "ipv6"} }

// NewTopology makes the namespaces, with the addresses of some families.
func NewTopology(kind TopologyKind, families ...string) (_ *Topology, err error) {
	var all []Network
	for _, family := range families {
		n, ok := Networks[family]
		if !ok {
			return nil, fmt.Errorf("no network is known for family %q", family)
		}
		all = append(all, n)
	}
	t := &Topology{}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("make the namespaces (%s, %s): %w", kind, strings.Join(families, " and "), err), t.Close())
		}
	}()
	switch kind {
	case Loopback:
		err = t.loopback(all)
	case TwoHosts:
		err = t.twoHosts(all)
	case Routed:
		err = t.routed(all)
	default:
		err = fmt.Errorf("there is no such kind")
	}
	if err == nil {
		err = t.Queue.ActivateConntrack()
	}
	return t, err
}

// Close gives the namespaces up. The kernel takes them down when the last process has left.
func (t *Topology) Close() error {
	var errs []error
	for _, ns := range t.owned {
		errs = append(errs, ns.Close())
	}
	t.owned = nil
	return errors.Join(errs...)
}

// hosts makes empty namespaces.
func (t *Topology) hosts(into ...**NetNS) error {
	for _, ns := range into {
		made, err := NewNetNS()
		if err != nil {
			return err
		}
		t.owned = append(t.owned, made)
		*ns = made
	}
	return nil
}

// Masquerade makes the router of [Routed] translate the senders' addresses and ports.
func (t *Topology) Masquerade() error { return t.Queue.Masquerade(OuterLink) }

// Redirect makes what is sent to the family's virtual address arrive at the target: DNAT where the queue belongs.
func (t *Topology) Redirect(family string) error {
	return t.redirect(family, Networks[family].Target)
}

// Spread makes what is sent to the family's virtual address arrive at one of the receiver's addresses, drawn at random
// for each conntrack entry, as service proxies do it.
func (t *Topology) Spread(family string) error {
	return t.redirect(family, Networks[family].Backends()...)
}

// Backends are the receiver's addresses.
func (n Network) Backends() []netip.Addr { return []netip.Addr{n.Target, n.Second} }

func (t *Topology) redirect(family string, to ...netip.Addr) error {
	n := Networks[family]
	if t.Sender == t.Queue {
		// Without a route the packet would not come as far as OUTPUT.
		if err := t.Queue.AddAddress("lo", single(n.Virtual)); err != nil {
			return err
		}
	}
	return t.Queue.RedirectTo(n.Virtual, to...)
}

// AllowPing lets programs of this process's group send echo requests without a raw socket.
func (t *Topology) AllowPing() error {
	group := os.Getgid()
	return t.Sender.SetSysctl("ipv4/ping_group_range", fmt.Sprintf("%d %d", group, group))
}

// loopback is one host that sends to itself.
func (t *Topology) loopback(all []Network) error {
	if err := t.hosts(&t.Queue); err != nil {
		return err
	}
	t.Sender, t.Receiver = t.Queue, t.Queue
	for _, n := range all {
		for _, a := range append(n.SourceList(), n.Backends()...) {
			if err := t.Queue.AddAddress("lo", single(a)); err != nil {
				return err
			}
		}
	}
	return nil
}

// twoHosts is a sender and, over veth, a receiver that has the queue.
func (t *Topology) twoHosts(all []Network) error {
	if err := t.hosts(&t.Sender, &t.Receiver); err != nil {
		return err
	}
	t.Queue = t.Receiver
	sender := Endpoint{NetNS: t.Sender, Link: "eth0"}
	receiver := Endpoint{NetNS: t.Receiver, Link: "eth0"}
	for _, n := range all {
		for _, a := range n.Backends() {
			if err := t.Receiver.AddAddress("lo", single(a)); err != nil {
				return err
			}
		}
		sender.Addresses = append(sender.Addresses, n.onLinks(n.SourceList()...)...)
		receiver.Addresses = append(receiver.Addresses, n.onLinks(n.SenderGateway)...)
	}
	if err := AddVeth(sender, receiver); err != nil {
		return err
	}
	for _, n := range all {
		if err := t.Sender.AddRoute(n.network(n.Target), n.SenderGateway); err != nil {
			return err
		}
	}
	return nil
}

// OuterLink is the router's interface towards the receiver.
const OuterLink = "eth1"

// routed is a sender, a router that has the queue, and a receiver.
func (t *Topology) routed(all []Network) error {
	if err := t.hosts(&t.Sender, &t.Queue, &t.Receiver); err != nil {
		return err
	}
	sender := Endpoint{NetNS: t.Sender, Link: "eth0"}
	inner := Endpoint{NetNS: t.Queue, Link: "eth0"}
	outer := Endpoint{NetNS: t.Queue, Link: OuterLink}
	receiver := Endpoint{NetNS: t.Receiver, Link: "eth0"}
	for _, n := range all {
		sender.Addresses = append(sender.Addresses, n.onLinks(n.SourceList()...)...)
		inner.Addresses = append(inner.Addresses, n.onLinks(n.SenderGateway)...)
		outer.Addresses = append(outer.Addresses, n.onLinks(n.TargetGateway)...)
		receiver.Addresses = append(receiver.Addresses, n.onLinks(n.Backends()...)...)
	}
	if err := errors.Join(AddVeth(sender, inner), AddVeth(outer, receiver), t.Queue.EnableForwarding()); err != nil {
		return err
	}
	for _, n := range all {
		err := errors.Join(
			t.Sender.AddRoute(n.network(n.Target), n.SenderGateway),
			t.Receiver.AddRoute(n.network(n.Sources), n.TargetGateway),
		)
		if err != nil {
			return err
		}
	}
	return nil
}

// network is the on-link network that an address is in.
func (n Network) network(a netip.Addr) netip.Prefix {
	return netip.PrefixFrom(a, n.OnLink).Masked()
}

func (n Network) onLinks(addresses ...netip.Addr) []netip.Prefix {
	list := make([]netip.Prefix, len(addresses))
	for i, a := range addresses {
		list[i] = netip.PrefixFrom(a, n.OnLink)
	}
	return list
}

// single is the address alone, as it stands on a loopback interface.
func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }
