package way

import (
	"errors"
	"net/netip"
	"slices"

	"verdictd/internal/netlab"
	"verdictd/internal/results"
)

// Config says what a way is to be.
type Config struct {
	// Topology is loopback, veth or router, in namespaces that are made for the run; empty: Sender and Receiver as they
	// are.
	Topology string
	// NAT is what the namespaces on the way translate: none, masquerade, dnat or backends.
	NAT    string
	Family string // ipv4 or ipv6; empty: ipv4
	// Sender and Receiver are paths of namespaces that are there; empty: the process's own.
	Sender, Receiver string
}

// Made says whether the namespaces are made for the run.
func (c Config) Made() bool { return c.Topology != "" }

// A Way is where a run sends and receives, and what is between.
type Way struct {
	Sender, Receiver string // paths of namespaces; empty: the process's own

	// The addresses are those of a topology that was made; a way that is named has none.
	Target    netip.Addr
	ReceiveAt netip.Addr
	Sources   []netip.Addr
	Backends  []netip.Addr // instead of ReceiveAt

	tracking string // the one in between that tracks connections; empty where none was made
	roles    []results.Place
	made     *netlab.Topology
}

// kinds are the topologies by their names.
var kinds = map[string]netlab.TopologyKind{"loopback": netlab.Loopback, "veth": netlab.TwoHosts,
	"router": netlab.Routed}

// Open takes the namespaces that are named, or makes some. The caller closes the way.
func Open(c Config) (*Way, error) {
	if !c.Made() {
		return named(c.Sender, c.Receiver), nil
	}
	return c.make()
}

// named is a way through namespaces that are there.
func named(sender, receiver string) *Way {
	return &Way{
		Sender: sender, Receiver: receiver,
		roles: []results.Place{{Role: "sender", Path: sender}, {Role: "receiver", Path: receiver}},
	}
}

func (c Config) make() (_ *Way, err error) {
	family := c.Family
	if family == "" {
		family = "ipv4"
	}
	n := netlab.Networks[family]
	made, err := netlab.NewTopology(kinds[c.Topology], family)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, made.Close())
		}
	}()
	w := named(made.Sender.Path(), made.Receiver.Path())
	w.made, w.tracking = made, made.Queue.Path()
	w.roles = append(w.roles, results.Place{Role: "tracking", Path: w.tracking})
	w.Target, w.ReceiveAt, w.Sources = n.Target, n.Target, n.SourceList()
	switch c.NAT {
	case "masquerade":
		err = made.Masquerade()
	case "dnat":
		w.Target = n.Virtual
		err = made.Redirect(family)
	case "backends":
		w.Target, w.ReceiveAt, w.Backends = n.Virtual, netip.Addr{}, n.Backends()
		err = made.Spread(family)
	}
	return w, err
}

// Namespaces are the paths of all that packets run through, each once.
func (w *Way) Namespaces() []string {
	paths := []string{w.Sender, w.Receiver}
	if w.made != nil {
		paths = append(paths, w.tracking)
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// Roles are the namespaces for the result's header.
func (w *Way) Roles() []results.Place { return w.roles }

// AllowPing has everybody send echo requests in the namespaces that were made.
func (w *Way) AllowPing() error {
	if w.made == nil {
		return nil
	}
	return w.made.AllowPing()
}

// Close gives up the namespaces that were made.
func (w *Way) Close() error {
	if w.made == nil {
		return nil
	}
	return w.made.Close()
}
