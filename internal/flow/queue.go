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
	// What Confirmed will settle: flows that this queue judges, and buckets
	// that had no room for one.
	first    []*slot
	overflow []*bucket
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
	// First: give the packet back.
	First
	// Further: the packet may carry an unconfirmed entry of its own; send it anew
	// after the verdicts on this queue's packets so far have returned.
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
// judges it where the decision is Foreign. Where a packet of the flow waits to
// be sent anew, the caller must not ask but send this one anew too, or it would
// overtake.
//
// When the verdicts have returned and further packets were sent anew, Confirmed
// is to be called if Judging.
func (q *Queue) Decide(id ID, entry Entry, now int64) (d Decision, owner int) {
	t := q.table
	s := t.bucketOf(id).find(id)
	var state uint64
	if s != nil {
		// Even a packet whose entry is confirmed must not overtake those that wait
		// for the judge.
		state = s.state.Load()
		if state&judging != 0 {
			return q.judged(state)
		}
	}
	if entry == EntryConfirmed {
		return Pass, 0
	}
	if s == nil {
		return q.begin(id, First, 0, now)
	}
	// Settled: this packet was looked up after the flow was confirmed, if it was.
	settled := q.emptyAt.Load() >= confirmedAt(state)+t.grace
	idle := now - s.seen.Load()
	remembered := idle < t.idle && entry == EntryUnknown
	switch {
	case remembered && state&proved != 0:
		s.touch(idle, t.idle, now)
		if settled {
			return Pass, 0
		}
		return Further, 0
	case settled && !remembered:
		// The kernel has forgotten the flow, or it was never confirmed.
		return q.begin(id, First, state, now)
	}
	// A copy of this packet may be what confirms the flow.
	return q.begin(id, Further, state, now)
}

// begin makes this queue the flow's judge, and d the decision.
func (q *Queue) begin(id ID, d Decision, known uint64, now int64) (Decision, int) {
	s, mine := q.claim(id, known, now)
	switch {
	case mine:
		q.table.judged.Add(1)
		q.first = append(q.first, s)
		return d, 0
	case s == nil:
		return Full, 0
	}
	if state := s.state.Load(); state&judging != 0 {
		return q.judged(state)
	}
	return Further, 0
}

func (q *Queue) judged(state uint64) (Decision, int) {
	if owner := ownerOf(state); owner != q.index {
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

// Judging reports whether Confirmed has something to settle.
func (q *Queue) Judging() bool { return len(q.first) > 0 || len(q.overflow) > 0 }

// Resent says that a copy of a packet of the flow was sent, and that no rule
// dropped it: when the send returned, the flow was confirmed.
func (q *Queue) Resent(id ID) {
	s := q.table.bucketOf(id).find(id)
	if s != nil && s.state.Load() == judging|uint64(q.index) {
		s.state.Store(judging | proved | uint64(q.index))
	}
}

// Proved reports whether Resent was called for the flow since this queue began to
// judge it.
func (q *Queue) Proved(id ID) bool {
	s := q.table.bucketOf(id).find(id)
	return s != nil && s.state.Load() == judging|proved|uint64(q.index)
}

// Confirmed says that all verdicts given so far had returned, and that all
// further packets were sent anew. It first calls resend for each packet that
// other queues have handed over, in the order in which each of them did, then
// tells them that the flows are confirmed. clock is read when that is done.
func (q *Queue) Confirmed(clock func() int64, resend func(Copy)) {
	// Under the lock: a packet that is handed over meanwhile must not fall
	// between the last look into the mailbox and the new state.
	q.mailbox.mu.Lock()
	defer q.mailbox.mu.Unlock()
	q.mailbox.drain(resend)
	now := clock()
	for _, s := range q.first {
		state := s.state.Load() & proved
		if q.table.drop {
			state = proved
		}
		s.state.Store(state | uint64(now))
	}
	q.table.judged.Add(-int64(len(q.first)))
	for _, b := range q.overflow {
		b.overflowed.Store(now)
		b.pending.Add(-1)
	}
	q.first, q.overflow = q.first[:0], q.overflow[:0]
}

// HandOver gives a packet to the queue that judges its flow. It answers false
// where that queue has done so meanwhile, and where its mailbox is full: decide
// again, and where the answer stays Foreign wait.
func (q *Queue) HandOver(owner int, c Copy) bool {
	m := &q.table.queues[owner].mailbox
	m.mu.Lock()
	defer m.mu.Unlock()
	s := q.table.bucketOf(c.ID).find(c.ID)
	if s == nil || s.state.Load()&^proved != judging|uint64(owner) {
		return false
	}
	return m.put(c)
}
