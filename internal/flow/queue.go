package flow

import "sync/atomic"

// Queue is what one queue's thread sees of the Table. Its methods belong to
// that thread.
type Queue struct {
	table   *Table
	index   int
	emptyAt atomic.Int64
	waiting atomic.Bool
	mailbox Mailbox
	first   []*slot // flows that this queue judges
}

// SeenEmpty says that the queue's socket was surely empty at the given time,
// and that the packets decided upon next arrived later.
func (q *Queue) SeenEmpty(at int64) {
	if at != q.emptyAt.Load() {
		q.emptyAt.Store(at)
	}
}

// Waiting says that the queue has seen its socket empty and waits for a packet,
// or that it waits no more.
func (q *Queue) Waiting(waiting bool) { q.waiting.Store(waiting) }

// Decision is what to do with a packet that may go on.
type Decision uint8

const (
	// Pass: give the packet back. Nothing more is to be done about it.
	Pass Decision = iota
	// First: give the packet back, and call Confirmed when the verdict has
	// returned.
	First
	// Further: the packet may carry an unconfirmed entry of its own; send it anew
	// after the verdicts on this queue's first packets have returned.
	Further
	// Full is Further for a packet of a flow that the table had no room for.
	Full
	// Foreign: another queue judges the flow; hand the packet to it.
	Foreign
)

// Entry is what the kernel says of the packet's own conntrack entry.
type Entry uint8

const (
	// EntryUnknown: the kernel attaches no conntrack to packets.
	EntryUnknown Entry = iota
	// EntryUnconfirmed: the packet has an entry that is not in the table.
	EntryUnconfirmed
	// EntryConfirmed: the packet was looked up after its flow was confirmed.
	EntryConfirmed
)

// Decide says what to do with a packet of the flow. owner is the queue that
// judges it where the decision is Foreign.
func (q *Queue) Decide(id ID, entry Entry, now int64) (d Decision, owner int) {
	if entry == EntryConfirmed {
		return Pass, 0
	}
	t := q.table
	s := t.bucketOf(id).find(id)
	var state uint64
	if s != nil {
		state = s.state.Load()
		if state&judging != 0 {
			return q.judged(state)
		}
		idle := now - s.seen.Load()
		if q.emptyAt.Load() < int64(state)+t.grace {
			s.touch(idle, t.idle, now)
			return Further, 0
		}
		// Settled: looked up after the first packet's verdict had returned. That
		// verdict's packet was dropped later on if this one is unconfirmed still.
		if entry != EntryUnconfirmed && idle < t.idle {
			s.touch(idle, t.idle, now)
			return Pass, 0
		}
	}
	s, mine := t.claim(id, q.index, state, now)
	switch {
	case mine:
		q.first = append(q.first, s)
		return First, 0
	case s == nil:
		return Full, 0
	}
	if state = s.state.Load(); state&judging != 0 {
		return q.judged(state)
	}
	return Further, 0
}

func (q *Queue) judged(state uint64) (Decision, int) {
	if owner := int(state &^ judging); owner != q.index {
		return Foreign, owner
	}
	return Further, 0
}

// touch notes that a packet was seen, seldom enough for queues that share the
// flow not to fight over its cache line.
func (s *slot) touch(idle, limit, now int64) {
	if idle > limit/8 {
		s.seen.Store(now)
	}
}

// Judging reports whether verdicts on first packets are still to be returned.
func (q *Queue) Judging() bool { return len(q.first) > 0 }

// Confirmed says that all verdicts given so far had returned. It first calls
// resend for each packet that other queues have handed over, in the order in
// which each of them did, then tells them that the flows are confirmed. clock
// is read when that is done.
func (q *Queue) Confirmed(clock func() int64, resend func(packet []byte, mark uint32)) {
	if len(q.first) == 0 {
		return
	}
	// Under the lock: a packet that is handed over meanwhile must not fall
	// between the last look into the mailbox and the new state.
	q.mailbox.mu.Lock()
	defer q.mailbox.mu.Unlock()
	q.mailbox.drain(resend)
	now := clock()
	for _, s := range q.first {
		s.state.Store(uint64(now))
	}
	q.first = q.first[:0]
}

// HandOver gives a packet to the queue that judges its flow. It answers false
// where that queue has done so meanwhile, and where its mailbox is full: decide
// again, and where the answer stays Foreign wait.
func (q *Queue) HandOver(owner int, id ID, packet []byte, mark uint32) bool {
	m := &q.table.queues[owner].mailbox
	m.mu.Lock()
	defer m.mu.Unlock()
	s := q.table.bucketOf(id).find(id)
	if s == nil || s.state.Load() != judging|uint64(owner) {
		return false
	}
	return m.put(packet, mark)
}
