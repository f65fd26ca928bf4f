package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"verdictd/internal/netlab"
	"verdictd/internal/provenance"
)

// netnsFlags name the namespaces that a scenario sends from and receives in.
type netnsFlags struct {
	SenderNetns   string `help:"Network namespace to send from." placeholder:"PATH"`
	ReceiverNetns string `help:"Network namespace to receive in." placeholder:"PATH"`
}

// wayFlags are where the packets of a scenario run: through namespaces that somebody else made, or through ones of
// stress's own.
type wayFlags struct {
	Topology string `help:"Make network namespaces for the run: loopback (one host), veth (two) or router (a third between them); conntrack is active in the router, or else at the receiver. Default: the namespaces that --sender-netns and --receiver-netns name, or the process's own." enum:",loopback,veth,router" default:"" placeholder:"loopback|veth|router"`
	NAT      string `name:"nat" help:"none; masquerade: the router translates source addresses and ports; dnat: packets go to an address that is translated to the receiver's; backends: to one of two of the receiver's, drawn at random for each conntrack entry." enum:"none,masquerade,dnat,backends" default:"none" placeholder:"none|masquerade|dnat|backends"`

	netnsFlags
}

// kinds are the topologies by the names on the command line.
var kinds = map[string]netlab.TopologyKind{"loopback": netlab.Loopback, "veth": netlab.TwoHosts, "router": netlab.Routed}

// own says whether stress is to make the namespaces.
func (p *wayFlags) own() bool { return p.Topology != "" }

// check says what cannot be had together. addressed are the flags that name addresses and were given.
func (p *wayFlags) check(addressed ...string) error {
	var errs []error
	switch {
	case !p.own() && p.NAT != "none":
		errs = append(errs, fmt.Errorf("--nat %s: needs namespaces of its own; add --topology router", p.NAT))
	case p.NAT == "masquerade" && p.Topology != "router":
		errs = append(errs, fmt.Errorf("--nat masquerade: only a router masquerades; give --topology router"))
	}
	if p.own() && (p.SenderNetns != "" || p.ReceiverNetns != "") {
		errs = append(errs, errors.New("--topology makes the namespaces: leave --sender-netns and --receiver-netns out"))
	}
	if p.own() {
		for _, flag := range addressed {
			errs = append(errs, fmt.Errorf("--topology brings addresses of its own: leave %s out", flag))
		}
	}
	return errors.Join(errs...)
}

// A way is where a run sends and receives, and what is between.
type way struct {
	sender, receiver string // paths of namespaces; empty: the process's own
	tracking         string // the one in between that tracks connections; empty where stress made none
	target           netip.Addr
	receiveAt        netip.Addr
	sources          []netip.Addr
	backends         []netip.Addr // instead of receiveAt

	made *netlab.Topology
}

// make makes the namespaces for a family. The caller closes the way.
func (p *wayFlags) make(family string) (_ *way, err error) {
	if family == "" {
		family = "ipv4"
	}
	n := netlab.Networks[family]
	made, err := netlab.NewTopology(kinds[p.Topology], family)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, made.Close())
		}
	}()
	at := &way{
		sender: made.Sender.Path(), receiver: made.Receiver.Path(), tracking: made.Queue.Path(),
		target: n.Target, receiveAt: n.Target, sources: n.SourceList(), made: made,
	}
	switch p.NAT {
	case "masquerade":
		err = made.Masquerade()
	case "dnat":
		at.target = n.Virtual
		err = made.Redirect(family)
	case "backends":
		at.target, at.receiveAt, at.backends = n.Virtual, netip.Addr{}, n.Backends()
		err = made.Spread(family)
	}
	return at, err
}

// namespaces are the paths of all that packets run through, each once.
func (p *way) namespaces() []string {
	paths := []string{p.sender, p.receiver}
	if p.made != nil {
		paths = append(paths, p.tracking)
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// roles are the namespaces for the result's header.
func (p *way) roles() []provenance.Place {
	roles := ends(p.sender, p.receiver)
	if p.made != nil {
		roles = append(roles, provenance.Place{Role: "tracking", Path: p.tracking})
	}
	return roles
}

func ends(sender, receiver string) []provenance.Place {
	return []provenance.Place{{Role: "sender", Path: sender}, {Role: "receiver", Path: receiver}}
}

// Close gives up the namespaces that stress made.
func (p *way) Close() error {
	if p.made == nil {
		return nil
	}
	return p.made.Close()
}
