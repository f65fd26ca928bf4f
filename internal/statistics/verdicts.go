package statistics

// Verdicts are what a worker of the verdict engine counts.
type Verdicts struct {
	// Received packets are either Accepted or Dropped.
	Received uint64 `json:"received" help:"Packets that were judged."`
	Accepted uint64 `json:"accepted" help:"Packets that the policy accepted."`
	Dropped  uint64 `json:"dropped" help:"Packets that the policy dropped."`
	// Undecodable packets have headers that cannot be decoded to their end; what
	// becomes of them is policy.undecodable. Truncated ones were longer than the copy
	// range.
	Undecodable uint64 `json:"undecodable" help:"Packets whose headers cannot be decoded to their end."`
	Truncated   uint64 `json:"truncated" help:"Packets that were longer than queues.copy_range."`
	Transport
	// Latency is how long verdicts took: from the return of the receive that brought
	// the packet to the return of the send that carried its verdict.
	Latency Spread `json:"verdict_latency_us" metric:"verdict_latency_seconds" help:"Time from the receipt of a packet to the return of its verdict."`
}

// Rule is how many packets a rule of the policy has decided on.
type Rule struct {
	Name    string `json:"name"`
	Action  string `json:"action"`
	Packets uint64 `json:"packets" help:"Packets that a rule of the policy has decided on; those of no rule by default, and undecodable ones."`
}

// Totals are of all queues.
type Totals struct {
	Verdicts
	KernelDrops
}

// QueueVerdicts are of one of them.
type QueueVerdicts struct {
	Queue uint16 `json:"queue"`
	// CPU that the queue's thread is pinned to; -1: none.
	CPU int `json:"cpu"`
	Totals
	Backlog
}
