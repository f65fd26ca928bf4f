package kernelfacts

import "slices"

// Names of facts that others branch on.
const (
	FactNoResolution   = "no-clash-resolution"
	FactReinjection    = "reinjection-resolver"
	FactDNATMisroute   = "dnat-misroute"
	FactClashCrash     = "clash-event-crash"
	FactConfirmedEarly = "confirmed-before-insertion"
	FactClonedDropped  = "cloned-unconfirmed-dropped"
	FactGRODropped     = "gro-segments-dropped"
	FactVerdictUAF     = "verdict-use-after-free"
	FactMangle         = "mangle-below-transport"
)

// tableEnds is the first mainline release of which nothing is known.
var tableEnds = V(7, 4, 0)

// facts is the table, a row a fault. A stable version is in it where the change is
// known to be in that branch; what is not certain is left out and comes out as
// unknown. The subjects are those of the upstream commits, by which distributors'
// changelogs name them.
var facts = slices.Concat(clashFacts, queueFacts, bridgeFacts, conntrackFacts)
