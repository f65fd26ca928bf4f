package main

import (
	"context"
	"errors"
	"fmt"

	"verdictd/internal/netlab"
	"verdictd/internal/provenance"
)

// placesFlags say where a scenario sends and receives that makes its namespaces, with the addresses of both families, unless
// something is named: wayFlags' counterpart for scenarios that have no business in the process's own.
type placesFlags struct {
	netnsFlags
	Topology string `help:"Namespaces to make where neither they nor addresses are named: loopback (one host), veth (two) or router (a third between them). Default: veth." enum:",loopback,veth,router" default:"" placeholder:"loopback|veth|router"`
}

// named is a namespace that the caller gave, if any.
func (f *placesFlags) named() string {
	if f.SenderNetns != "" {
		return f.SenderNetns
	}
	return f.ReceiverNetns
}

// validate is told whether the scenario makes its own namespaces.
func (f *placesFlags) validate(makes bool) error {
	if !makes && f.Topology != "" {
		return fmt.Errorf("topology %s: it is for the namespaces that are made where neither a namespace nor an address is named", f.Topology)
	}
	return nil
}

// open is told the same, and takes the namespaces that are named, or makes some; the caller closes the way. named is what
// the result file says of them. Where this process may not make any, the program runs once more as root of a user
// namespace: outside is then true, and there is nothing left to do.
func (f *placesFlags) open(ctx context.Context, s *streams, makes bool) (at *way, named []provenance.Place, outside bool, err error) {
	if !makes {
		return &way{sender: f.SenderNetns, receiver: f.ReceiverNetns}, ends(f.SenderNetns, f.ReceiverNetns), false, nil
	}
	if outside, err := netlab.Ensure(ctx, "stress", s.stdout, s.stderr); outside {
		return nil, nil, true, err
	}
	made, err := f.make()
	if err != nil {
		return nil, nil, false, err
	}
	return &way{sender: made.Sender.Path(), receiver: made.Receiver.Path(), made: made}, nil, false, nil
}

// make makes the namespaces, with the addresses of both families.
func (f *placesFlags) make() (*netlab.Topology, error) {
	kind, ok := kinds[f.Topology]
	if !ok {
		kind = netlab.TwoHosts
	}
	t, err := netlab.NewTopology(kind, netlab.Families()...)
	if err != nil {
		return nil, err
	}
	if kind == netlab.Loopback {
		const ethernet = 1500 // so that long packets are fragments here, too
		if err := t.Queue.SetMTU("lo", ethernet); err != nil {
			return nil, errors.Join(err, t.Close())
		}
	}
	return t, nil
}
