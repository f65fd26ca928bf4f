package report

import (
	"fmt"
	"net/netip"
	"time"
)

// Schema is the version of the JSON document. It grows when a key changes its
// meaning or goes away; new keys may come without it.
const Schema = 1

// Names of the rows that the judgement treats in a way of their own. They are
// the same words as in verdictd's configuration.
const (
	PlacementNone         = "none"
	PlacementPreConntrack = "pre-conntrack"
	PlacementNotrack      = "notrack"

	GuardOff      = "off"
	GuardReinject = "reinject"
	GuardDrop     = "drop"

	// EventsNone and the others are the values of Run.Events: whether a
	// conntrack event listener ran beside the daemon. With EventsOff one did, but
	// nf_conntrack_events was 0, so that entries carried no events.
	EventsNone     = "none"
	EventsListener = "listener"
	EventsOff      = "off"

	// NATNone and NATMasquerade are the values of Run.NAT: whether the router
	// translates the senders' addresses, and draws their ports anew.
	NATNone       = "none"
	NATMasquerade = "masquerade"

	// FanoutNumgen is the fan-out under which a flow has no order to keep.
	FanoutNumgen = "numgen"
)

// Report is one matrix, complete or interrupted.
type Report struct {
	Schema   int       `json:"schema"`
	Version  string    `json:"version"`
	Host     Host      `json:"host"`
	Settings Settings  `json:"settings"`
	Started  time.Time `json:"started"`
	Seconds  float64   `json:"seconds"`
	// Planned is how many runs were asked for; an interrupted matrix has fewer.
	Planned     int      `json:"planned"`
	Interrupted bool     `json:"interrupted"`
	Notes       []string `json:"notes"`
	Runs        []Run    `json:"runs"`
	Verdict     Verdict  `json:"verdict"`
}

// Host is where the matrix ran: everything that is known to change its figures.
type Host struct {
	Kernel       string `json:"kernel"`
	Distribution string `json:"distribution"`
	Architecture string `json:"architecture"`
	CPUs         int    `json:"cpus"`
	CPUModel     string `json:"cpu_model"`
	// UserNamespace tells a run without root from one with it.
	UserNamespace bool `json:"user_namespace"`
	// QueueKind is the queue statement of this kernel's nftables: native or xt.
	QueueKind string `json:"queue_kind"`
	// ConntrackEvents is net.netfilter.nf_conntrack_events in a fresh
	// namespace: 0 never, 1 always, 2 while somebody listens (5.19 and later).
	// It is nil where the kernel does not show it.
	ConntrackEvents *int `json:"conntrack_events"`
	// Tainted is the kernel's taint mask before the first run.
	Tainted  uint64            `json:"tainted"`
	Versions map[string]string `json:"versions"`
}

// Settings are the choices that all runs share.
type Settings struct {
	Flows       int    `json:"flows"`
	Burst       int    `json:"burst"`
	Threads     int    `json:"threads"`
	Queues      int    `json:"queues"`
	Outstanding int    `json:"outstanding"`
	Sources     int    `json:"sources"`
	Analysis    string `json:"analysis"`
}

// Run is one row: one placement of the queue rule, with one guard, in fresh
// network namespaces.
type Run struct {
	Placement string `json:"placement"`
	Fanout    string `json:"fanout"`
	Guard     string `json:"guard"`
	Backend   string `json:"backend"`
	Events    string `json:"events"`
	Family    string `json:"family"`
	NAT       string `json:"nat"`

	// From the sender's and receiver's ledger.
	Flows      uint64 `json:"flows"`
	Sent       uint64 `json:"sent"`
	Delivered  uint64 `json:"delivered"`
	Lost       uint64 `json:"lost"`
	Duplicated uint64 `json:"duplicated"`
	Reordered  uint64 `json:"reordered"`
	Corrupted  uint64 `json:"corrupted"`
	// SourcesChanged is packets that arrived from another address or port than the first of their flow, ReceivedFrom the
	// addresses that flows arrived from: the router's own where it masquerades.
	SourcesChanged   uint64       `json:"sources_changed"`
	ReceivedFrom     []netip.Addr `json:"received_from"`
	SendErrors       uint64       `json:"send_errors"`
	Seconds          float64      `json:"seconds"`
	PacketsPerSecond float64      `json:"packets_per_second"`
	// ReceiverDropped is loss at the receiver's own socket: the instrument's
	// fault. It is nil where the kernel cannot tell.
	ReceiverDropped *uint64 `json:"receiver_dropped"`
	// Echo is the way back, where the receiver answers.
	Echo *Echo `json:"echo"`

	// From conntrack's counters in the namespace of the queue.
	// Those that this kernel does not have are nil.
	ClashResolve   *uint64 `json:"clash_resolve"`
	InsertFailed   uint64  `json:"insert_failed"`
	ChainTooLong   *uint64 `json:"chain_toolong"`
	Drop           uint64  `json:"drop"`
	ClashesPer1000 float64 `json:"clashes_per_1000"`
	// EventsSeen is what the event listener counted; nil without one.
	EventsSeen *uint64 `json:"events_seen"`

	// From the daemon's own statistics.
	QueuePackets     []uint64 `json:"queue_packets"`
	First            uint64   `json:"first"`
	Further          uint64   `json:"further"`
	Reinjected       uint64   `json:"reinjected"`
	ReinjectFailed   uint64   `json:"reinject_failed"`
	GuardDropped     uint64   `json:"guard_dropped"`
	TableFull        uint64   `json:"table_full"`
	VerdictErrors    uint64   `json:"verdict_errors"`
	QueueDropped     uint64   `json:"queue_dropped"`
	UserDropped      uint64   `json:"user_dropped"`
	VerdictLatencyUS *Latency `json:"verdict_latency_us"`
	CPUUSPerPacket   *float64 `json:"cpu_us_per_packet"`
	RSSKiB           *Memory  `json:"rss_kib"`

	// Tainted is the kernel's taint mask after the run.
	Tainted uint64 `json:"tainted"`
	// Error is why the run has no figures, or none that can be trusted.
	Error string `json:"error,omitempty"`
}

// Echo is the ledger of the answers.
type Echo struct {
	Sent       uint64 `json:"sent"`
	Delivered  uint64 `json:"delivered"`
	Lost       uint64 `json:"lost"`
	Duplicated uint64 `json:"duplicated"`
	Reordered  uint64 `json:"reordered"`
	Corrupted  uint64 `json:"corrupted"`
}

// Memory is the daemon's resident memory in KiB.
type Memory struct {
	Start uint64 `json:"start"`
	End   uint64 `json:"end"`
	Max   uint64 `json:"max"`
}

// Latency is a distribution in microseconds.
type Latency struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Clashes is how often the kernel had two entries for one flow in this run.
// From 5.10 on a resolved clash counts as clash_resolve and one that was not
// resolved as insert_failed; before, both are insert_failed. A chain that was
// too long (5.15 and later) also counts as insert_failed and is no clash.
func (r *Run) Clashes() uint64 {
	clashes := r.InsertFailed
	if r.ChainTooLong != nil {
		clashes -= min(clashes, *r.ChainTooLong)
	}
	if r.ClashResolve != nil {
		clashes += *r.ClashResolve
	}
	return clashes
}

// Rate sets ClashesPer1000 from the counters.
func (r *Run) Rate() {
	r.ClashesPer1000 = 0
	if r.Sent > 0 {
		r.ClashesPer1000 = 1000 * float64(r.Clashes()) / float64(r.Sent)
	}
}

// Queued is how many packets the daemon received, over all its queues.
func (r *Run) Queued() uint64 {
	var n uint64
	for _, q := range r.QueuePackets {
		n += q
	}
	return n
}

// Exposed says whether the row's queue holds packets between conntrack's lookup
// and its confirm, which is where clashes come from.
func (r *Run) Exposed() bool {
	switch r.Placement {
	case PlacementNone, PlacementPreConntrack, PlacementNotrack:
		return false
	}
	return true
}

// Name is the row in words, for progress and failures.
func (r *Run) Name() string {
	if r.Placement == PlacementNone {
		return r.Placement + " " + r.Family
	}
	name := fmt.Sprintf("%s %s, guard %s, fan-out %s, %s", r.Placement, r.Family, r.Guard, r.Fanout, r.Backend)
	if r.NAT == NATMasquerade {
		name += ", masquerade"
	}
	if r.Events != EventsNone {
		name += ", " + r.eventsInWords()
	}
	return name
}

func (r *Run) eventsInWords() string {
	if r.Events == EventsOff {
		return "events off"
	}
	return "event " + r.Events
}
