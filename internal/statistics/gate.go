package statistics

// Flows are what one table of the gate's flows counts. Every packet that came is a first
// one, has passed with an open flow, was held, announced, re-entered, unguarded or exempt.
// Every held packet is released as confirmed, as a first one, as expired or as unguarded,
// or it is dropped, or still held.
type Flows struct {
	// Received packets, announcements included.
	Received uint64 `json:"received" help:"Packets that came to the gate, announcements included."`
	// First packets were released at once, or when the one before was gone.
	First uint64 `json:"first" help:"First packets of flows, released at once or when the one before was gone."`
	// Passed packets belong to flows that conntrack was known to have.
	Passed uint64 `json:"passed" help:"Packets of flows that conntrack was known to have."`
	// Exempt packets begin no flow, as errors of ICMP do not, or cannot be decoded.
	Exempt uint64 `json:"exempt" help:"Packets that begin no flow, or cannot be decoded."`
	// Held packets had to wait.
	Held uint64 `json:"held" help:"Packets that had to wait."`
	// Confirmed packets of these were released as conntrack had their flow.
	Confirmed uint64 `json:"confirmed" help:"Held packets that were released as conntrack had their flow."`
	// Gone first packets were dropped on their way to the confirm, as far as held
	// ones waited for it.
	Gone uint64 `json:"gone" help:"First packets that were dropped on their way to the confirm, as far as held ones waited for it."`
	// Dark first packets were held, as the gate did not know yet what was on its way.
	Dark uint64 `json:"dark" help:"First packets that were held, as the gate did not know yet what was on its way."`
	// Dropped further packets of pending flows, as mode drop wants it.
	Dropped uint64 `json:"dropped" help:"Further packets of pending flows that were dropped (guard.mode: drop)."`
	// Expired packets were released though their flow was pending: held for
	// guard.hold, for guard.hold_limit, or as the program wants a second packet.
	Expired       uint64 `json:"expired" help:"Held packets that were released though their flow was pending."`
	ExpiredHold   uint64 `json:"expired_hold" help:"Expired packets that waited for guard.hold."`
	ExpiredLimit  uint64 `json:"expired_limit" help:"Expired packets that waited for guard.hold_limit."`
	ExpiredSecond uint64 `json:"expired_second" help:"Expired packets whose program wants a second one before it judges the first."`
	// Unguarded packets went on although their flow was pending or could not be
	// remembered, as a bound was reached: flows, packets of a flow, bytes, or the
	// gate's receive buffer, before which they are none of Received.
	Unguarded        uint64 `json:"unguarded" help:"Packets that went on although their flow was pending or could not be remembered."`
	UnguardedFlows   uint64 `json:"unguarded_flows" help:"Unguarded packets for which guard.flows was reached."`
	UnguardedPackets uint64 `json:"unguarded_packets" help:"Unguarded packets for which guard.flow_packets was reached."`
	UnguardedBytes   uint64 `json:"unguarded_bytes" help:"Unguarded packets for which guard.bytes was reached."`
	UnguardedSocket  uint64 `json:"unguarded_socket" help:"Unguarded packets that found the gate's receive buffer full."`
	// Announced packets were listed in the settled set while conntrack had no
	// entry of theirs any more.
	Announced uint64 `json:"announced" help:"Packets that were listed in the settled set while conntrack had no entry of theirs any more."`
	// Reentered packets came again right after their release, as somebody had
	// added a base chain before the gate.
	Reentered uint64 `json:"reentered" help:"Packets that came again right after their release."`
	// Vanished packets were not there any more when they were released.
	Vanished uint64 `json:"vanished" help:"Packets that were not there any more when they were released."`
	// Asked is how often conntrack was asked for a flow.
	Asked uint64 `json:"asked" help:"Questions to conntrack for a flow."`
	// Listed flows were handed over to the settled set; ListFailed ones of these
	// it did not take.
	Listed     uint64 `json:"listed" help:"Flows that were handed over to the settled set."`
	ListFailed uint64 `json:"list_failed" help:"Flows that the settled set did not take."`
	// Touched packets came while their flow was handed over. Where that was after
	// the set had it, the set let others pass before them.
	Touched uint64 `json:"touched" help:"Packets that came while their flow was handed over to the settled set."`
	// What was there at one time at most.
	MaxHeld  uint64 `json:"max_held" metric:"max_held_packets,gauge" help:"Packets held at one time at most."`
	MaxBytes uint64 `json:"max_bytes" metric:"max_bytes,gauge" help:"Bytes held at one time at most."`
	MaxFlows uint64 `json:"max_flows" metric:"max_flows,gauge" help:"Flows remembered at one time at most."`
}

// GateThread is what one thread of a gate has counted.
type GateThread struct {
	Flows
	// AskErrors are questions that got no answer.
	AskErrors uint64 `json:"ask_errors" help:"Questions to conntrack that got no answer."`
	// Barriers of the kernel were waited for; in the sum only, as they are for all.
	Barriers uint64 `json:"barriers" help:"Memory barriers of the kernel that were waited for."`
	Transport
	// FirstUS is from the receipt of a first packet to the return of its verdict,
	// HeldUS from that of a held one, in microseconds.
	FirstUS Spread `json:"first_us" metric:"first_seconds" help:"Time from the receipt of a first packet to the return of its verdict."`
	HeldUS  Spread `json:"held_us" metric:"held_seconds" help:"Time from the receipt of a held packet to the return of its verdict."`
}

// GateTotals are of all its threads. The maxima are sums, as the threads may have
// reached theirs together.
type GateTotals struct {
	GateThread
	KernelDrops
	Backlog
	Settled
}

// Settled is how full the settled set is, of both families.
type Settled struct {
	Elements uint64 `json:"settled_elements" metric:"settled_elements,gauge" help:"Elements of the settled set; a flow takes two."`
	Limit    uint64 `json:"settled_limit" metric:"settled_elements_limit,gauge" help:"Elements that the settled set takes (guard.settled_size, for each family)."`
}

// Gate is the gate's part of the document.
type Gate struct {
	Queues []GateThread `json:"queues"`
	Total  GateTotals   `json:"total"`
}
