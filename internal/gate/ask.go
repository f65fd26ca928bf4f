package gate

import "verdictd/internal/packet"

// Flows that hold packets are asked for: at once, and then in growing distances,
// or sooner when other programs' verdicts are known to have returned.
const (
	dueNow   = 0
	dueLists = 8 // 0.5 ms, 1 ms, ... 32 ms
	dueFirst = int64(500_000)

	// hintless flows have been asked for so often that verdicts of others are no
	// reason any more.
	hintless = 5
	// hintWalk bounds the search for flows to be asked for.
	hintWalk = 128

	// questions a second, and how many of them may come together.
	askRate  = 100_000
	askBurst = 4096
)

// A Question is whether conntrack has a flow.
type Question struct {
	Flow int32
	// Tuple is that of the flow's first packet.
	Tuple packet.Key
	Zone  uint16
}

// ask puts a flow that holds packets into a list of those due.
func (t *Table) ask(i int32, level uint8) {
	f := &t.flows[i]
	t.due[f.due].remove(t.dueLinks, i)
	f.due, f.dueAt = level, t.now
	if level > dueNow {
		f.dueAt += dueFirst << (level - 1)
	}
	t.due[level].push(t.dueLinks, i)
}

// Moved tells that so many verdicts of other queues have returned: conntrack may
// have as many more flows, the oldest first.
func (t *Table) Moved(n int) { t.moved = min(t.moved+n, askBurst) }

// Questions lays out what conntrack is to be asked now, at most len(q), the
// oldest first. Each wants an Answer before anything else is done to the table.
func (t *Table) Questions(q []Question) int {
	t.tokens = min(t.tokens+float64(t.now-t.tokensAt)*askRate/1e9, askBurst)
	t.tokensAt = t.now
	most := min(len(q), int(t.tokens))
	n := 0
	for n < most && t.due[dueNow].head != none {
		n = t.question(q, n, t.due[dueNow].head)
	}
	if t.moved > 0 {
		n = t.hinted(q[:most], n)
	}
	for level := 1; level < dueLists; level++ {
		for i := t.due[level].head; n < most && i != none && t.flows[i].dueAt <= t.now; i = t.due[level].head {
			n = t.question(q, n, i)
		}
	}
	n = t.candidatesFor(q[:most], n)
	t.tokens -= float64(n)
	t.Counters.Asked += uint64(n)
	return n
}

// hinted asks for the flows that hold packets longest. Two more than verdicts
// have returned, as these may have been for others.
func (t *Table) hinted(q []Question, n int) int {
	want := t.moved + 2
	t.moved = 0
	i := t.holding.head
	for walked := 0; i != none && want > 0 && n < len(q) && walked < hintWalk; walked++ {
		if t.dueLinks[i].in && t.flows[i].due < hintless {
			n = t.question(q, n, i)
			want--
		}
		i = t.holdingLinks[i].next
	}
	return n
}

// question lays one out. Until its Answer the flow is in no list of those due.
func (t *Table) question(q []Question, n int, i int32) int {
	f := &t.flows[i]
	t.due[f.due].remove(t.dueLinks, i)
	q[n].Flow = i
	q[n].Tuple, q[n].Zone = Zone(&f.key)
	if f.turned {
		turn(&q[n].Tuple)
	}
	return n + 1
}

// Wait is how long nothing is to be done, in nanoseconds, unless packets or
// hints come; below 0 it is for ever.
func (t *Table) Wait() int64 {
	if t.due[dueNow].head != none {
		if t.tokens >= 1 {
			return 0
		}
		return dueFirst
	}
	next := int64(-1)
	sooner := func(at int64) {
		if d := max(at-t.now, 0); next < 0 || d < next {
			next = d
		}
	}
	for level := 1; level < dueLists; level++ {
		if i := t.due[level].head; i != none {
			sooner(t.flows[i].dueAt)
		}
	}
	if i := t.holding.head; i != none {
		expires := t.flows[i].heldSince + int64(t.cfg.Hold)
		if expires <= t.now { // the judging program stands still
			expires = t.now + expireAgain
		}
		sooner(expires)
	}
	if i := t.candidates.head; i != none {
		sooner(t.flows[i].listAt)
	}
	return next
}
