package traffic

import (
	"net/netip"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// Ended is why a run sent no more.
type Ended string

// The ends. Those after EndedEnough are failures.
const (
	EndedFlows       Ended = "flows" // all were sent; of a flood: "packets"
	EndedPackets     Ended = "packets"
	EndedDuration    Ended = "duration"
	EndedEnough      Ended = "enough" // ClashConfig.Enough said so
	EndedTimeout     Ended = "timeout"
	EndedInterrupted Ended = "interrupted"
	EndedError       Ended = "error"
)

// ClashResult is what a run of RunClash saw. Field by field it is part of the result file's schema.
type ClashResult struct {
	Config ClashConfig `json:"config"` // as it ran: threads, sources and seed that were left open are filled in

	// Flows is how many bursts were sent, Sent how many packets were offered to the kernel for them, Delivered how many
	// of those arrived intact. Lost is the rest: whatever was dropped on the way, refused at the send, or corrupted.
	Flows     uint64 `json:"flows"`
	Sent      uint64 `json:"sent"`
	Delivered uint64 `json:"delivered"`
	Lost      uint64 `json:"lost"`

	Duplicated uint64 `json:"duplicated"` // arrivals of a packet that had arrived already
	Reordered  uint64 `json:"reordered"`  // packets that arrived after one which their thread sent later within the flow
	Corrupted  uint64 `json:"corrupted"`  // arrivals with a damaged payload
	Foreign    uint64 `json:"foreign"`    // intact arrivals of another run

	// SourcesChanged is packets that arrived from another address or port than the first of their flow, ReceivedFrom
	// the addresses that flows arrived from: not the sources of Config where addresses are translated on the way.
	SourcesChanged uint64       `json:"sources_changed"`
	ReceivedFrom   []netip.Addr `json:"received_from"`

	// Split is flows whose packets arrived at more than one of Config's backends.
	Split uint64 `json:"split"`

	// SendErrors is how many sends the kernel refused, SendErrno the same by cause. EPERM: dropped by a filter or by
	// conntrack before the packet left; EAGAIN: the send buffer stayed full for the flow timeout; ECONNREFUSED: an ICMP
	// error about an earlier packet.
	SendErrors uint64            `json:"send_errors"`
	SendErrno  map[string]uint64 `json:"send_errno,omitempty"`

	// ReceiverDropped is loss at the receiver's own socket, for want of buffer: a fault of the instrument or its
	// settings, not of the path. Absent where the kernel cannot tell (before 4.12). ReceiveBuffer is what the kernel
	// granted, in its own accounting (twice what was asked for).
	ReceiverDropped *uint64 `json:"receiver_dropped,omitempty"`
	ReceiveBuffer   int     `json:"receive_buffer"`

	// Expired is how many flows left the window because their time was up; PortsSkipped how many source ports
	// somebody else held.
	Expired      uint64 `json:"expired"`
	PortsSkipped uint64 `json:"ports_skipped"`

	// Seconds is from the start of the first flow to the last arrival, or to the last send if that is later.
	// PacketsPerSecond is Delivered over it.
	Seconds          float64 `json:"seconds"`
	PacketsPerSecond float64 `json:"packets_per_second"`

	Latency Quantiles  `json:"latency_us"`          // one way: the payload's stamp to the return of the receive call
	Spread  *Quantiles `json:"spread_us,omitempty"` // between the threads of a burst: first to last thread's first stamp
	Lag     *Quantiles `json:"lag_us,omitempty"`    // start of a flow after it was due; with a rate only

	*EchoResult

	Ended       Ended `json:"ended"`
	TimedOut    bool  `json:"timed_out"`   // the timeout ended the run before all flows were sent
	Interrupted bool  `json:"interrupted"` // the caller did
}

// EchoResult is the way back: the same figures for the payloads that the receiver returned.
type EchoResult struct {
	RoundTrip      Quantiles `json:"round_trip_us"`
	EchoSent       uint64    `json:"echo_sent"`
	EchoDelivered  uint64    `json:"echo_delivered"`
	EchoLost       uint64    `json:"echo_lost"` // includes those that came after their flow's socket was closed
	EchoDuplicated uint64    `json:"echo_duplicated"`
	EchoReordered  uint64    `json:"echo_reordered"`
	EchoCorrupted  uint64    `json:"echo_corrupted"`

	EchoSendErrors uint64            `json:"echo_send_errors"`
	EchoSendErrno  map[string]uint64 `json:"echo_send_errno,omitempty"`
}

// Quantiles are in microseconds; all zero when nothing was measured.
type Quantiles struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

func quantiles(h *hdr.Histogram) Quantiles {
	us := func(ns int64) float64 { return float64(ns) / float64(time.Microsecond) }
	return Quantiles{P50: us(h.ValueAtQuantile(50)), P99: us(h.ValueAtQuantile(99)), Max: us(h.Max())}
}
