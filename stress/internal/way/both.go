package way

import (
	"errors"

	"verdictd/internal/netlab"
)

// OpenBoth is for scenarios that have no business in the process's own namespaces: it takes those that are named, or,
// where makes says so, makes some with the addresses of both families, by default two hosts. The result's header does
// not tell of the latter.
func OpenBoth(c Config, makes bool) (*Way, error) {
	if !makes {
		return named(c.Sender, c.Receiver), nil
	}
	kind, ok := kinds[c.Topology]
	if !ok {
		kind = netlab.TwoHosts
	}
	made, err := netlab.NewTopology(kind, netlab.Families()...)
	if err != nil {
		return nil, err
	}
	if kind == netlab.Loopback {
		const ethernet = 1500 // so that long packets are fragments here, too
		if err := made.Queue.SetMTU("lo", ethernet); err != nil {
			return nil, errors.Join(err, made.Close())
		}
	}
	return &Way{Sender: made.Sender.Path(), Receiver: made.Receiver.Path(), made: made}, nil
}
