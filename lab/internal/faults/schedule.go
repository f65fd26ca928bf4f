package faults

// The ports that packets go to. All are queued.
const (
	portAccepted = 9
	portPoliced  = 13 // dropped by the policy, always
	portSwitched = 17 // dropped by every other configuration, which shows that a reload is in force
	portOverload = 19 // what comes in an overload, and is no part of the ledger
)

// A class is what becomes of a packet.
type class uint8

const (
	fresh    class = iota // of a new flow of freshPackets, to be accepted
	policed               // to be dropped
	switched              // to be dropped or accepted, as the configuration in force says
	steady                // of a flow as old as the run, to be accepted
)

// One cycle of packets, in this order. Those of a new flow follow each other at once: without a guard they clash.
const (
	freshPackets   = 4
	policedInRow   = 8
	switchedInRow  = 1
	steadyInRow    = 27
	cycle          = freshPackets + policedInRow + switchedInRow + steadyInRow
	policedFlows   = 64
	steadyFlows    = 32
	wantedOfACycle = freshPackets + steadyInRow
)

// classOf is what packet n is, and of which flow of its class.
func classOf(n uint32) (c class, flow uint32) {
	round, i := n/cycle, n%cycle
	switch {
	case i < freshPackets:
		return fresh, round
	case i < freshPackets+policedInRow:
		return policed, (round*policedInRow + i - freshPackets) % policedFlows
	case i < cycle-steadyInRow:
		return switched, 0
	}
	return steady, (round*steadyInRow + i - (cycle - steadyInRow)) % steadyFlows
}

// wanted says whether packet n is to arrive.
func wanted(n uint32) bool {
	c, _ := classOf(n)
	return c == fresh || c == steady
}
