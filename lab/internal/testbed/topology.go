package testbed

import (
	"verdictd/internal/netlab"
	"verdictd/internal/report"
)

// NewTopology makes the namespaces that a placement needs: input and verdict3 need a peer, forward a router, and for
// the others everything is on one loopback.
func NewTopology(placement string, families ...string) (*netlab.Topology, error) {
	kind := netlab.Loopback
	switch placement {
	case report.PlacementInput, report.PlacementVerdict3:
		kind = netlab.TwoHosts
	case report.PlacementForward:
		kind = netlab.Routed
	}
	return netlab.NewTopology(kind, families...)
}
