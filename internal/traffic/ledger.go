package traffic

import (
	"maps"
	"net/netip"
	"slices"
	"sync/atomic"
)

// Outcome is what the Ledger made of one datagram.
type Outcome uint8

const (
	Fresh     Outcome = iota // a packet of this run that had not arrived before
	Duplicate                // one that had
	Corrupt                  // damaged: too short, wrong magic, wrong checksum, or claiming a place that the run has not
	Foreign                  // intact, but of another run: a straggler of an earlier one
)

// Ledger knows every packet that a run may send and notes which arrived. One goroutine records; the methods that read
// counters may be called from any. Memory is about 48 bytes a flow for bursts of up to 64 packets from two threads.
type Ledger struct {
	run     uint32
	flows   int
	burst   int
	threads int
	words   int // of seen, for each flow

	seen     []uint64         // a bit for each packet of each flow
	next     []uint16         // for each flow and thread: one more than the highest sequence that arrived
	received []atomic.Uint32  // distinct packets of each flow
	source   []netip.AddrPort // where the first packet of each flow came from
	sources  map[netip.Addr]struct{}
	reached  []netip.Addr // where the first packet of each flow arrived; nil where nobody asks

	delivered, duplicated, reordered, corrupted, foreign, moved, split atomic.Uint64
}

// Counts is a reading of a Ledger.
type Counts struct {
	Delivered  uint64 `json:"delivered"`  // distinct intact packets
	Duplicated uint64 `json:"duplicated"` // further arrivals of the same packet
	Reordered  uint64 `json:"reordered"`  // distinct packets that arrived after one which their thread sent later
	Corrupted  uint64 `json:"corrupted"`
	Foreign    uint64 `json:"foreign"`
	// SourcesChanged is distinct packets that came from another address or port than the first of their flow: some
	// address translation on the way took them for a flow of their own.
	SourcesChanged uint64 `json:"sources_changed"`
}

// plus adds the readings of two ledgers that share a run's packets.
func (c Counts) plus(o Counts) Counts {
	return Counts{
		Delivered:  c.Delivered + o.Delivered,
		Duplicated: c.Duplicated + o.Duplicated,
		Reordered:  c.Reordered + o.Reordered,
		Corrupted:  c.Corrupted + o.Corrupted,
		Foreign:    c.Foreign + o.Foreign,

		SourcesChanged: c.SourcesChanged + o.SourcesChanged,
	}
}

// NewLedger is for a run of at most the given number of flows, each of burst packets that threads share evenly
// (thread t sends the packets t, t+threads, t+2*threads, ...).
func NewLedger(run uint32, flows, burst, threads int) *Ledger {
	words := (burst + 63) / 64
	return &Ledger{
		run: run, flows: flows, burst: burst, threads: threads, words: words,
		seen:     make([]uint64, flows*words),
		next:     make([]uint16, flows*threads),
		received: make([]atomic.Uint32, flows),
		source:   make([]netip.AddrPort, flows),
		sources:  make(map[netip.Addr]struct{}),
	}
}

// Record enters one datagram and where it came from; the zero AddrPort says that this cannot vary, as on a connected
// socket. The header is meaningful for Fresh and Duplicate.
func (l *Ledger) Record(payload []byte, from netip.AddrPort) (Header, Outcome) {
	h, err := DecodeHeader(payload)
	if err != nil {
		l.corrupted.Add(1)
		return h, Corrupt
	}
	if h.Run != l.run {
		l.foreign.Add(1)
		return h, Foreign
	}
	packet := int(h.Seq)*l.threads + int(h.Thread)
	if int(h.Thread) >= l.threads || packet >= l.burst || int64(h.Flow) >= int64(l.flows) {
		l.corrupted.Add(1)
		return h, Corrupt
	}
	word := &l.seen[int(h.Flow)*l.words+packet/64]
	bit := uint64(1) << (packet % 64)
	if *word&bit != 0 {
		l.duplicated.Add(1)
		return h, Duplicate
	}
	*word |= bit
	next := &l.next[int(h.Flow)*l.threads+int(h.Thread)]
	if h.Seq < *next {
		l.reordered.Add(1)
	} else {
		*next = h.Seq + 1
	}
	l.trace(h.Flow, from)
	l.delivered.Add(1)
	l.received[h.Flow].Add(1)
	return h, Fresh
}

// trace holds a packet's source against that of its flow.
func (l *Ledger) trace(flow uint32, from netip.AddrPort) {
	switch source := &l.source[flow]; {
	case *source == from:
	case *source == netip.AddrPort{}:
		*source = from
		l.sources[from.Addr()] = struct{}{}
	default:
		l.moved.Add(1)
	}
}

// watchReached makes the ledger hold the addresses at which packets arrive against each other.
func (l *Ledger) watchReached() { l.reached = make([]netip.Addr, l.flows) }

// reach notes at which address a packet that Record found fresh arrived.
func (l *Ledger) reach(flow uint32, at netip.Addr) {
	counted := netip.IPv6Unspecified() // stands for a flow that was seen to be split
	switch first := &l.reached[flow]; {
	case *first == at, *first == counted:
	case *first == netip.Addr{}:
		*first = at
	default:
		*first = counted
		l.split.Add(1)
	}
}

// Split is how many flows had packets that arrived at more than one address.
func (l *Ledger) Split() uint64 { return l.split.Load() }

// Sources are the addresses that flows came from, in their order. Not while datagrams are entered.
func (l *Ledger) Sources() []netip.Addr {
	return slices.SortedFunc(maps.Keys(l.sources), netip.Addr.Compare)
}

// Received is the number of distinct packets of a flow that arrived.
func (l *Ledger) Received(flow uint32) int { return int(l.received[flow].Load()) }

// Counts reads the counters; during a run they may be a packet apart from each other.
func (l *Ledger) Counts() Counts {
	return Counts{
		Delivered:  l.delivered.Load(),
		Duplicated: l.duplicated.Load(),
		Reordered:  l.reordered.Load(),
		Corrupted:  l.corrupted.Load(),
		Foreign:    l.foreign.Load(),

		SourcesChanged: l.moved.Load(),
	}
}
