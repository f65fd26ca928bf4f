package statistics

// Flows are what one table of the gate's flows counts. Every packet that came is a first
// one, has passed with an open flow, was held, announced, re-entered, unguarded or exempt.
// Every held packet is released as confirmed, as a first one, as expired or as unguarded,
// or it is dropped, or still held.
type Flows struct {
	// Received packets, announcements included.
	Received uint64 `json:"received"`
	// First packets were released at once, or when the one before was gone.
	First uint64 `json:"first"`
	// Passed packets belong to flows that conntrack was known to have.
	Passed uint64 `json:"passed"`
	// Exempt packets begin no flow, as errors of ICMP do not, or cannot be decoded.
	Exempt uint64 `json:"exempt"`
	// Held packets had to wait.
	Held uint64 `json:"held"`
	// Confirmed packets of these were released as conntrack had their flow.
	Confirmed uint64 `json:"confirmed"`
	// Gone first packets were dropped on their way to the confirm, as far as held
	// ones waited for it.
	Gone uint64 `json:"gone"`
	// Dark first packets were held, as the gate did not know yet what was on its way.
	Dark uint64 `json:"dark"`
	// Dropped further packets of pending flows, as mode drop wants it.
	Dropped uint64 `json:"dropped"`
	// Expired packets were released though their flow was pending: held for
	// guard.hold, for guard.hold_limit, or as the program wants a second packet.
	Expired       uint64 `json:"expired"`
	ExpiredHold   uint64 `json:"expired_hold"`
	ExpiredLimit  uint64 `json:"expired_limit"`
	ExpiredSecond uint64 `json:"expired_second"`
	// Unguarded packets went on although their flow was pending or could not be
	// remembered, as a bound was reached: flows, packets of a flow, bytes, or the
	// gate's receive buffer, before which they are none of Received.
	Unguarded        uint64 `json:"unguarded"`
	UnguardedFlows   uint64 `json:"unguarded_flows"`
	UnguardedPackets uint64 `json:"unguarded_packets"`
	UnguardedBytes   uint64 `json:"unguarded_bytes"`
	UnguardedSocket  uint64 `json:"unguarded_socket"`
	// Announced packets were listed in the settled set while conntrack had no
	// entry of theirs any more.
	Announced uint64 `json:"announced"`
	// Reentered packets came again right after their release, as somebody had
	// added a base chain before the gate.
	Reentered uint64 `json:"reentered"`
	// Vanished packets were not there any more when they were released.
	Vanished uint64 `json:"vanished"`
	// Asked is how often conntrack was asked for a flow.
	Asked uint64 `json:"asked"`
	// Listed flows were handed over to the settled set; ListFailed ones of these
	// it did not take.
	Listed     uint64 `json:"listed"`
	ListFailed uint64 `json:"list_failed"`
	// Touched packets came while their flow was handed over. Where that was after
	// the set had it, the set let others pass before them.
	Touched uint64 `json:"touched"`
	// What was there at one time at most.
	MaxHeld  uint64 `json:"max_held"`
	MaxBytes uint64 `json:"max_bytes"`
	MaxFlows uint64 `json:"max_flows"`
}

// GateThread is what one thread of a gate has counted.
type GateThread struct {
	Flows
	// AskErrors are questions that got no answer.
	AskErrors uint64 `json:"ask_errors"`
	// Barriers of the kernel were waited for; in the sum only, as they are for all.
	Barriers uint64 `json:"barriers"`
	Transport
	// FirstUS is from the receipt of a first packet to the return of its verdict,
	// HeldUS from that of a held one, in microseconds.
	FirstUS Spread `json:"first_us"`
	HeldUS  Spread `json:"held_us"`
}

// GateTotals are of all its threads. The maxima are sums, as the threads may have
// reached theirs together.
type GateTotals struct {
	GateThread
	KernelDrops
}

// Gate is the gate's part of the document.
type Gate struct {
	Queues []GateThread `json:"queues"`
	Total  GateTotals   `json:"total"`
}
