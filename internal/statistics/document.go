package statistics

// Schema is the version of the document. It grows when a key changes its meaning or
// goes away; new keys may come without it.
const Schema = 2

// Document is what verdictd writes when it stops.
type Document struct {
	Schema  int    `json:"schema"`
	Version string `json:"version"`
	Backend string `json:"backend"`
	Guard   string `json:"guard"`
	// Seconds from the start of the service to its stop.
	Seconds float64 `json:"seconds"`
	// Queues and Total are absent where the process judges nothing.
	Queues []QueueVerdicts `json:"queues,omitempty"`
	Total  *Totals         `json:"total,omitempty"`
	// Rules are those of the policy, its default, and what becomes of undecodable
	// packets.
	Rules []Rule `json:"rules,omitempty"`
	// Gate is absent where there was none.
	Gate *Gate `json:"gate,omitempty"`
	// CPUPerPacket is the process's user and system time in that span, in
	// microseconds, by packets received; 0 if there were none.
	CPUPerPacket float64 `json:"cpu_us_per_packet"`
	// RSS is resident memory in KiB.
	RSS Memory `json:"rss_kib"`
}

// Memory is at the start, at the end, and its peak.
type Memory struct {
	Start uint64 `json:"start"`
	End   uint64 `json:"end"`
	Max   uint64 `json:"max"`
}

// KernelDrops are packets that never reached the program.
type KernelDrops struct {
	// QueueDropped found the queue full, UserDropped the receive buffer.
	QueueDropped uint64 `json:"queue_dropped"`
	UserDropped  uint64 `json:"user_dropped"`
}

// Transport is what a queue's socket has brought and taken.
type Transport struct {
	// VerdictErrors is how many verdicts the kernel refused: mostly ENOENT, as
	// the packet was gone already (flushed by a device or a rule that went).
	VerdictErrors uint64 `json:"verdict_errors"`
	// NoBuffers are those of them that the kernel had no memory to tell about one by one
	// (ENOBUFS).
	NoBuffers uint64 `json:"no_buffers"`
	// Malformed is how many messages could not be understood.
	Malformed uint64 `json:"malformed"`
	// Batches is how many receives brought packets.
	Batches uint64 `json:"batches"`
}

// Spread is how long something took, in microseconds.
type Spread struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
	// Times are all of them, where this process has measured them.
	Times *Times `json:"-"`
}
