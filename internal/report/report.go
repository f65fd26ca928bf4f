package report

import (
	"fmt"
	"net/netip"
	"time"

	"verdictd/internal/ct"
	"verdictd/internal/statistics"
	"verdictd/internal/vocabulary"
)

// Schema is the version of the JSON document. It grows when a key changes its
// meaning or goes away; new keys may come without it.
const Schema = 2

// Names of the rows that the judgement treats in a way of their own. They are
// the same words as in verdictd's configuration.
const (
	PlacementNone         = string(vocabulary.PlacementNone)
	PlacementPreConntrack = string(vocabulary.PlacementPreConntrack)
	PlacementNotrack      = string(vocabulary.PlacementNotrack)
	PlacementOutput       = string(vocabulary.PlacementOutput)
	PlacementPostrouting  = string(vocabulary.PlacementPostrouting)
	PlacementInput        = string(vocabulary.PlacementInput)
	PlacementForward      = string(vocabulary.PlacementForward)
	PlacementVerdict3     = string(vocabulary.PlacementVerdict3)

	GuardOff  = string(vocabulary.GuardOff)
	GuardHold = string(vocabulary.GuardHold)
	GuardDrop = string(vocabulary.GuardDrop)

	FanoutBalance = string(vocabulary.FanoutBalance)
	FanoutCPU     = string(vocabulary.FanoutCPU)
	FanoutPorts   = string(vocabulary.FanoutPorts)
	// FanoutNumgen is the one under which a flow has no order to keep.
	FanoutNumgen = string(vocabulary.FanoutNumgen)

	// ProgramVerdictd and the others are the values of Run.Program: who gives
	// verdicts. Those that are not verdictd know nothing of a gate; with a guard,
	// `verdictd guard` stands before them.
	ProgramVerdictd = "verdictd"
	ProgramLibrary  = "libnetfilter_queue"
	ProgramGo       = "go-nfqueue"
	ProgramSuricata = "suricata"

	// TrafficUDP and the others are the values of Run.Traffic.
	TrafficUDP      = "udp"
	TrafficBothEnds = "both-ends"
	TrafficICMP     = "icmp"

	// EventsNone and the others are the values of Run.Events: whether a
	// conntrack event listener ran beside the daemon. With EventsOff one did, but
	// nf_conntrack_events was 0, so that entries carried no events.
	EventsNone     = "none"
	EventsListener = "listener"
	EventsOff      = "off"

	// NATNone and the others are the values of Run.NAT: whether the router
	// translates the senders' addresses and ports, or the destination to one of
	// two backends, which it draws for each conntrack entry.
	NATNone       = "none"
	NATMasquerade = "masquerade"
	NATBackends   = "backends"

	// AnalysisNone is Settings.Analysis where the program takes no time over a packet.
	AnalysisNone = string(vocabulary.DistributionNone)
)

// Report is one matrix, complete or interrupted.
type Report struct {
	Schema   int       `json:"schema"`
	Version  string    `json:"version"`
	Host     Host      `json:"host"`
	Settings Settings  `json:"settings"`
	Started  time.Time `json:"started"`
	Seconds  float64   `json:"seconds"`
	// Command is the command line that made it.
	Command []string `json:"command,omitempty"`
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
	// ClashesUncounted says that this kernel resolves clashes of queued packets
	// without counting them.
	ClashesUncounted bool `json:"clashes_uncounted"`
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
	Program   string `json:"program"`
	Backend   string `json:"backend"`
	Events    string `json:"events"`
	Family    string `json:"family"`
	NAT       string `json:"nat"`
	Traffic   string `json:"traffic"`

	// From the sender's and receiver's ledger.
	Flows      uint64 `json:"flows"`
	Sent       uint64 `json:"sent"`
	Delivered  uint64 `json:"delivered"`
	Lost       uint64 `json:"lost"`
	Duplicated uint64 `json:"duplicated"`
	Reordered  uint64 `json:"reordered"`
	Corrupted  uint64 `json:"corrupted"`
	// SourcesChanged is packets that arrived from another address or port than the first of their flow, ReceivedFrom
	// the addresses that flows arrived from: the router's own where it masquerades.
	SourcesChanged uint64       `json:"sources_changed"`
	ReceivedFrom   []netip.Addr `json:"received_from"`
	// Split is flows whose packets arrived at more than one backend.
	Split            uint64  `json:"split"`
	SendErrors       uint64  `json:"send_errors"`
	Seconds          float64 `json:"seconds"`
	PacketsPerSecond float64 `json:"packets_per_second"`
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

	// From the gate: packets that it held, and those that went on before their
	// flow was confirmed or known to be gone, as their time was up (Expired) or a
	// bound was reached (Unguarded). Gate has all of its counters, and is nil
	// where there was none.
	Held      uint64                 `json:"held"`
	Expired   uint64                 `json:"expired"`
	Unguarded uint64                 `json:"unguarded"`
	Gate      *statistics.GateTotals `json:"gate"`

	// From verdictd's own statistics; of another program, what the kernel counts
	// at its queues.
	QueuePackets     []uint64           `json:"queue_packets"`
	VerdictErrors    uint64             `json:"verdict_errors"`
	QueueDropped     uint64             `json:"queue_dropped"`
	UserDropped      uint64             `json:"user_dropped"`
	VerdictLatencyUS *statistics.Spread `json:"verdict_latency_us"`
	CPUUSPerPacket   *float64           `json:"cpu_us_per_packet"`
	RSSKiB           *statistics.Memory `json:"rss_kib"`

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

// Clashes is how often the kernel had two entries for one flow in this run: see [ct.Counters.Clashes].
func (r *Run) Clashes() uint64 {
	return ct.Counters{
		ct.ClashResolve: ct.ValueOf(r.ClashResolve),
		ct.InsertFailed: {N: r.InsertFailed, Sent: true},
		ct.ChainTooLong: ct.ValueOf(r.ChainTooLong),
	}.Clashes().N
}

// Rate sets ClashesPer1000 from the counters.
func (r *Run) Rate() {
	r.ClashesPer1000 = 0
	if r.Sent > 0 {
		r.ClashesPer1000 = 1000 * float64(r.Clashes()) / float64(r.Sent)
	}
}

// SetGate takes over what a gate counted.
func (r *Run) SetGate(g *statistics.GateTotals) {
	r.Gate = g
	if g != nil {
		r.Held, r.Expired, r.Unguarded = g.Held, g.Expired, g.Unguarded
	}
}

// GateDropped is how many packets the gate dropped, which it does in mode drop.
func (r *Run) GateDropped() uint64 {
	if r.Gate == nil {
		return 0
	}
	return r.Gate.Dropped
}

// Queued is how many packets the program received, over all its queues.
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
	return vocabulary.Placement(r.Placement).Exposed()
}

// Name is the row in words, for progress and failures.
func (r *Run) Name() string {
	if r.Placement == PlacementNone {
		return r.Placement + " " + r.Family
	}
	name := fmt.Sprintf("%s %s, guard %s, fan-out %s, %s", r.Placement, r.Family, r.Guard, r.Fanout, r.judge())
	if r.NAT != NATNone && r.NAT != "" {
		name += ", " + r.NAT
	}
	if r.Traffic != TrafficUDP && r.Traffic != "" {
		name += ", " + r.Traffic
	}
	if r.Events != EventsNone {
		name += ", " + r.eventsInWords()
	}
	return name
}

// judge is who gives verdicts: verdictd by its backend, another program by its name.
func (r *Run) judge() string {
	if r.foreign() {
		return r.Program
	}
	return r.Backend
}

func (r *Run) eventsInWords() string {
	if r.Events == EventsOff {
		return "events off"
	}
	return "event " + r.Events
}
