package main

import "verdictd/internal/topology"

// newTopology makes the namespaces that a placement needs: input and verdict3 need a peer, forward a router, and for the
// others everything is on one loopback.
func newTopology(placement string, families ...string) (*topology.Topology, error) {
	kind := topology.Loopback
	switch placement {
	case "input", "verdict3":
		kind = topology.TwoHosts
	case "forward":
		kind = topology.Routed
	}
	return topology.New(kind, families...)
}
