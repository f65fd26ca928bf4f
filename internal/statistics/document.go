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
	// Sets are those of the policy.
	Sets []Set `json:"sets,omitempty"`
	// Samples is absent where there is no place for them. It begins again where that changes.
	Samples *Samples `json:"samples,omitempty"`
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
	QueueDropped uint64 `json:"queue_dropped" metric:"kernel_queue_dropped" help:"Packets that the kernel dropped as the queue was full (queues.max_length)."`
	UserDropped  uint64 `json:"user_dropped" metric:"kernel_user_dropped" help:"Packets that the kernel dropped as the socket's receive buffer was full (queues.receive_buffer)."`
}

// Backlog is how a queue stands at one moment.
type Backlog struct {
	// Waiting packets have no verdict yet. The oldest one has waited for OldestSeconds
	// at least; the kernel tells no times, so that it is known to a quarter of a second.
	Waiting       uint64  `json:"waiting" metric:"waiting_packets,gauge" help:"Packets that wait for a verdict."`
	OldestSeconds float64 `json:"oldest_seconds" metric:"oldest_packet_seconds,gauge" help:"How long the oldest of them has waited at least."`
	// ReceiveBuffer of the queue's socket, in bytes; 0: not known.
	ReceiveBuffer uint64 `json:"receive_buffer" metric:"receive_buffer_bytes,gauge" help:"Receive buffer of the queue's socket."`
}

// Transport is what a queue's socket has brought and taken.
type Transport struct {
	// VerdictErrors is how many verdicts the kernel refused: mostly ENOENT, as
	// the packet was gone already (flushed by a device or a rule that went).
	VerdictErrors uint64 `json:"verdict_errors" help:"Verdicts that the kernel refused, mostly as the packet was gone already."`
	// NoBuffers are those of them that the kernel had no memory to tell about one by one
	// (ENOBUFS).
	NoBuffers uint64 `json:"no_buffers" help:"Receives that failed with ENOBUFS, as the kernel had no memory to tell of a refused verdict."`
	// Malformed is how many messages could not be understood.
	Malformed uint64 `json:"malformed" help:"Messages of the kernel that could not be understood."`
	// Batches is how many receives brought packets.
	Batches uint64 `json:"batches" help:"Receives that brought packets."`
	// Left is how many packets a process before this one had read and not answered, of
	// which LeftVanished were gone already when this one did: somebody had deleted a base
	// chain, or a device went. Deadly packets ended two processes, and were dropped.
	Left         uint64 `json:"left,omitempty" help:"Packets that a process before this one had read and not answered."`
	LeftVanished uint64 `json:"left_vanished,omitempty" help:"Those of them that were gone when this process answered."`
	Deadly       uint64 `json:"deadly,omitempty" help:"Packets that ended two processes while they were judged, and were dropped."`
}

// Spread is how long something took, in microseconds.
type Spread struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
	// Times are all of them, where this process has measured them.
	Times *Times `json:"-"`
}
