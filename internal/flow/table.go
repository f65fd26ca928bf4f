package flow

import (
	"errors"
	"fmt"
	"hash/maphash"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"verdictd/internal/packet"
)

// Config sizes a Table. All of it must be set.
type Config struct {
	// Queues is how many queues share the table.
	Queues int
	// Drop says that further packets are dropped rather than sent anew. No copy
	// can then prove that a flow is confirmed, and its first packet's verdict has
	// to do: should a rule behind the queue have dropped that packet, a clash is
	// possible.
	Drop bool
	// Flows is how many flows are remembered at once; rounded up to a power of
	// two times the bucket's eight. One flow takes FlowBytes.
	Flows int
	// Grace is the longest time a packet takes from conntrack's lookup to the
	// queue, and so how long after a confirm packets are still sent anew. The
	// sender can be preempted in between, so it is some scheduling periods.
	Grace time.Duration
	// Idle is how long after its last packet a flow is forgotten. It must be well
	// below the shortest timeout of conntrack's entries: once the kernel has
	// forgotten a flow, its packets can clash again.
	Idle time.Duration
}

// FlowBytes is the memory of one flow: its slot, and its share of the bucket's
// fields.
const FlowBytes = 26

const (
	bucketSlots = 8
	shards      = 64
)

// slot is one flow. id is written under the shard's lock only; all fields are
// read without it.
type slot struct {
	id    atomic.Uint64 // keyed hash of the flow, 0: free
	state atomic.Uint64
	seen  atomic.Int64 // when a packet of the flow was last seen
}

// A slot's state is either the queue that judges the flow (judging | index), or
// the time in nanoseconds at which its verdicts had returned. proved is added
// when a copy was sent that no rule dropped: conntrack has the flow.
const (
	judging = 1 << 63
	proved  = 1 << 62
)

func ownerOf(state uint64) int       { return int(state &^ (judging | proved)) }
func confirmedAt(state uint64) int64 { return int64(state &^ proved) }

// bucket holds the flows of one part of the hash space.
type bucket struct {
	slots [bucketSlots]slot
	// Packets that found no room are sent anew, and one of them may be what
	// confirms its flow. pending counts those on their way, overflowed is when the
	// last one had returned (0: never): packets looked up before that must not
	// count as a flow's first.
	pending    atomic.Int32
	overflowed atomic.Int64
}

// Table holds the flows of all queues. It is safe for concurrent use.
type Table struct {
	seed    maphash.Seed
	buckets []bucket
	shift   uint
	locks   [shards]paddedMutex
	queues  []*Queue
	judged  atomic.Int64 // flows that some queue judges
	grace   int64
	idle    int64
	drop    bool
}

// paddedMutex keeps neighbours off its cache line.
type paddedMutex struct {
	sync.Mutex
	_ [56]byte
}

// NewTable allocates all memory that the table will ever use.
func NewTable(cfg Config) (*Table, error) {
	var errs []error
	if cfg.Queues <= 0 {
		errs = append(errs, fmt.Errorf("queues: %d: the table serves at least one", cfg.Queues))
	}
	if cfg.Flows <= 0 {
		errs = append(errs, fmt.Errorf("flows: %d: the table needs room for at least one", cfg.Flows))
	}
	if cfg.Grace <= 0 {
		errs = append(errs, fmt.Errorf("grace: %v: must be longer than a packet takes from conntrack to the queue", cfg.Grace))
	}
	if cfg.Idle <= cfg.Grace {
		errs = append(errs, fmt.Errorf("idle: %v: must be longer than grace (%v), or no flow ever settles", cfg.Idle, cfg.Grace))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("flow table: %w", err)
	}
	n := 1 << bits.Len(uint(cfg.Flows-1)/bucketSlots)
	t := &Table{
		seed:    maphash.MakeSeed(),
		buckets: make([]bucket, n),
		shift:   uint(64 - bits.Len(uint(n-1))),
		grace:   int64(cfg.Grace),
		idle:    int64(cfg.Idle),
		drop:    cfg.Drop,
	}
	for i := range cfg.Queues {
		t.queues = append(t.queues, &Queue{table: t, index: i})
	}
	return t, nil
}

// Queue is the i-th queue's view of the table.
func (t *Table) Queue(i int) *Queue { return t.queues[i] }

// Bytes is the memory that the table holds.
func (t *Table) Bytes() int { return len(t.buckets) * int(unsafe.Sizeof(bucket{})) }

// ID names a flow in a Table: a hash of its key under a random seed, so that
// nobody outside can choose flows that share one. Two flows of the same ID
// would share their fate: at 2^-64 a pair, this is less likely than a bit
// flipped in memory.
type ID uint64

// ID hashes a key.
func (t *Table) ID(k *packet.Key) ID {
	// 0 marks a free slot.
	return ID(max(1, maphash.Bytes(t.seed, k[:])))
}

// Quiet reports whether no queue judges any flow: then no packet waits to be sent
// anew, and one whose entry is confirmed may be given back without asking Decide.
func (t *Table) Quiet() bool { return t.judged.Load() == 0 }

func (t *Table) bucketOf(id ID) *bucket { return &t.buckets[uint64(id)>>t.shift] }

// lockOf is the lock of the flow's bucket.
func (t *Table) lockOf(id ID) *sync.Mutex { return &t.locks[uint64(id)>>t.shift%shards].Mutex }

// find returns the flow's slot, or nil. It takes no lock: a slot that is given
// to another flow meanwhile starts in the judging state, on which every reader
// errs towards sending anew.
func (b *bucket) find(id ID) *slot {
	for i := range b.slots {
		if s := &b.slots[i]; s.id.Load() == uint64(id) {
			return s
		}
	}
	return nil
}

// claim makes the queue the judge of the flow. The caller has found no slot
// (known is 0) or one whose state, known, allows to begin anew. Where another
// queue was faster, claim returns that one's slot and false. A nil slot says
// that there is no room: the packet is booked as overflow.
func (q *Queue) claim(id ID, known uint64, now int64) (s *slot, mine bool) {
	t := q.table
	b := t.bucketOf(id)
	mu := t.lockOf(id)
	mu.Lock()
	defer mu.Unlock()
	if s = b.find(id); s != nil {
		if s.state.Load() != known {
			return s, false
		}
		s.state.Store(judging | uint64(q.index))
		s.seen.Store(now)
		return s, true
	}
	if !b.overflowing(q.emptyAt.Load() - t.grace) {
		s = b.victim(t.emptySince(now) - t.grace)
	}
	if s == nil {
		b.pending.Add(1)
		q.overflow = append(q.overflow, b)
		return nil, false
	}
	// The state before the id: who finds the id must never read the state of
	// the slot's former flow.
	s.id.Store(0)
	s.state.Store(judging | uint64(q.index))
	s.seen.Store(now)
	s.id.Store(uint64(id))
	return s, true
}

// overflowing reports whether a packet looked up at the given time may carry an
// unconfirmed entry of a flow that was confirmed without a slot.
func (b *bucket) overflowing(lookedUp int64) bool {
	at := b.overflowed.Load()
	return b.pending.Load() > 0 || at != 0 && at > lookedUp
}

// victim finds a slot to reuse: a free one, else that of the flow which was
// idle longest among those that are settled for every queue, which is to say
// whose first verdict had returned by the time settled. Forgetting such a flow
// costs a needless re-injection; forgetting another could cost a clash.
func (b *bucket) victim(settled int64) *slot {
	var oldest *slot
	var oldestSeen int64
	for i := range b.slots {
		s := &b.slots[i]
		if s.id.Load() == 0 {
			return s
		}
		state, seen := s.state.Load(), s.seen.Load()
		if state&judging != 0 || confirmedAt(state) > settled {
			continue
		}
		if oldest == nil || seen < oldestSeen {
			oldest, oldestSeen = s, seen
		}
	}
	return oldest
}

// emptySince is a moment after which every queue was seen empty.
func (t *Table) emptySince(now int64) int64 {
	// A queue that waits has an empty socket, or is about to be woken: waking
	// takes no longer than what the grace allows to a preempted sender.
	since := now - t.grace
	for _, q := range t.queues {
		if !q.waiting.Load() {
			since = min(since, q.emptyAt.Load())
		}
	}
	return since
}
