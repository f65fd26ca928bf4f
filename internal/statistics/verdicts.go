package statistics

// Verdicts are what a worker of the verdict engine counts.
type Verdicts struct {
	// Received packets are either Accepted or Dropped, or held still. Those sent elsewhere
	// are accepted, and those rejected are dropped.
	Received uint64 `json:"received" help:"Packets that were judged."`
	Accepted uint64 `json:"accepted" help:"Packets that the policy accepted."`
	Dropped  uint64 `json:"dropped" help:"Packets that the policy dropped."`
	// Undecodable packets have headers that cannot be decoded to their end; what
	// becomes of them is policy.undecodable. Truncated ones were longer than the copy
	// range, where that is not by what the policy looks at.
	Undecodable uint64 `json:"undecodable" help:"Packets whose headers cannot be decoded to their end."`
	Truncated   uint64 `json:"truncated" help:"Packets that were longer than queues.copy_range, where that is a number; where it is auto, than the kernel copies at most."`
	// CopiedAgain packets were not judged when they came first.
	CopiedAgain uint64 `json:"copied_again" help:"Packets that were queued once more, as less of them had been copied than the policy looks at: it had changed meanwhile."`
	Rejected    uint64 `json:"rejected" help:"Dropped packets whose sender is told by the kernel."`
	Requeued    uint64 `json:"requeued" help:"Accepted packets that went to another queue."`
	Repeated    uint64 `json:"repeated" help:"Accepted packets that went through the hook once more."`
	Flows       uint64 `json:"flow_verdicts" help:"Verdicts that are for a packet's flow."`
	// Held packets have waited for the name of their flow.
	Held     uint64 `json:"held" help:"Packets that waited for the name of their flow (pending: hold)."`
	HeldOver uint64 `json:"held_over" help:"Packets that did not wait for the name of their flow, or not any longer, as a bound was reached."`
	HeldLeft uint64 `json:"held_left" help:"Packets that a process before this one had held, and that were dropped."`
	Names
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
	// LimitShared tells that policy.rules[].limit.entries is too small.
	LimitShared uint64 `json:"limit_shared,omitempty" help:"Packets whose source, destination or entry had to share its bucket of the rule's limit with another (limit.entries)."`
}

// Samples are what becomes of packets that rules take samples of.
type Samples struct {
	Written uint64 `json:"written" help:"Samples of packets that are in files (policy.samples)."`
	Lost    uint64 `json:"lost" help:"Samples of packets that were left out, as too many came at once or the file could not be written."`
}

// Set is how a set of the policy fares.
type Set struct {
	Name string `json:"name"`
	Type string `json:"type"`
	// Hits are packets that a rule has matched because of it.
	Hits    uint64 `json:"hits" help:"Packets that a rule has matched because of the set."`
	Entries uint64 `json:"entries" metric:"entries,gauge" help:"Entries of the set."`
	// LoadedSeconds is when it was read, in seconds since 1970.
	LoadedSeconds float64 `json:"loaded_seconds" metric:"loaded_timestamp_seconds,gauge" help:"When the set was read."`
	Loads         uint64  `json:"loads" help:"How often the set was read."`
	Errors        uint64  `json:"errors" help:"How often the set's file could not be read or was wrong, so that what was there before stayed in force."`
	// Failed is 1 where its file as it is now is not in force, and Error is why.
	Failed uint64 `json:"failed" metric:"failed,gauge" help:"Whether the set's file, as it is now, is not in force: 1."`
	Error  string `json:"error,omitempty"`
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

// Names are what the search for the names of flows has counted.
type Names struct {
	Evicted   uint64 `json:"names_evicted" help:"Flows that were forgotten for new ones (policy.names.flows)."`
	Midstream uint64 `json:"names_midstream" help:"TCP packets of flows whose beginning was not seen: their name is too-long."`
	Joined    uint64 `json:"names_joined" help:"Flows whose name had to be put together from several packets."`
	Pushed    uint64 `json:"names_pushed" help:"Flows whose name was given up for that of another one (policy.names.buffers)."`
	Expired   uint64 `json:"names_expired" help:"Flows whose name did not come in time (policy.names.time)."`
	Conflicts uint64 `json:"names_conflicts" help:"Packets that said something else than packets of the flow before them."`
}
