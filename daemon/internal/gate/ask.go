package gate

import "verdictd/internal/packet"

// Flows that hold packets are asked for: at once, and then in growing distances,
// or sooner when other programs' verdicts are known to have returned.
const (
	dueNow   = 0
	dueLists = 8 // 0.2 ms, 0.4 ms, ... 12.8 ms
	dueFirst = int64(200_000)
	// tooSoon after its first packet's release a flow is asked for by hint, or when
	// the first distance is over: behind a queue it cannot be confirmed yet.
	tooSoon = int64(100_000)

	// hintless flows have been asked for so often that verdicts of others are no
	// reason any more.
	hintless = 5
	// hintWalk bounds the search for flows to be asked for.
	hintWalk = 128

	// Questions a second at most, and again about flows that were asked for twice
	// before, without a hint: thousands may wait for a program that stands still.
	askRate   = 100_000
	againRate = 5_000
	askBurst  = 4096
	// againLeast of the latter are worth waking up for.
	againLeast = 32
)

// A bucket bounds what is done a second.
type bucket struct {
	tokens float64
	at     int64
}

// fill adds what has come since, and says how many there are.
func (b *bucket) fill(now int64, rate float64) int {
	b.tokens = min(b.tokens+float64(now-b.at)*rate/1e9, askBurst)
	b.at = now
	return int(b.tokens)
}

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

// askFirst puts a flow that begins to hold packets, or whose first packet is
// another one now.
func (t *Table) askFirst(i int32) {
	if !t.cfg.Drop && t.now-t.flows[i].firstAt < tooSoon {
		t.ask(i, 1)
	} else {
		t.ask(i, dueNow)
	}
}

// Moved tells that so many verdicts of other queues have returned: conntrack may
// have as many more flows, the oldest first.
func (t *Table) Moved(n int) { t.moved = min(t.moved+n, askBurst) }

// Questions lays out what conntrack is to be asked now, at most len(q), the
// oldest first. Each wants an Answer before anything else is done to the table.
func (t *Table) Questions(q []Question) int {
	most := min(len(q), t.asked.fill(t.now, askRate))
	n := 0
	for n < most && t.due[dueNow].head != none {
		n = t.question(q, n, t.due[dueNow].head)
	}
	if t.moved > 0 {
		n = t.hinted(q[:most], n)
	}
	n = t.overdue(q[:most], n, 1)
	before, again := n, min(most, n+t.again.fill(t.now, againRate))
	for level := 2; level < dueLists; level++ {
		n = t.overdue(q[:again], n, level)
	}
	t.again.tokens -= float64(n - before)
	n = t.candidatesFor(q[:most], n)
	t.asked.tokens -= float64(n)
	t.Counters.Asked += uint64(n)
	return n
}

// overdue asks for the flows of a list whose time has come.
func (t *Table) overdue(q []Question, n, level int) int {
	for i := t.due[level].head; n < len(q) && i != none && t.flows[i].dueAt <= t.now; i = t.due[level].head {
		n = t.question(q, n, i)
	}
	return n
}

// hinted asks for the flows that hold packets longest, as many as verdicts have
// returned.
func (t *Table) hinted(q []Question, n int) int {
	want := t.moved
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
		if t.asked.tokens >= 1 {
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
			at := t.flows[i].dueAt
			if t.asked.tokens < 1 {
				at = max(at, t.now+dueFirst)
			}
			if lack := againLeast - t.again.tokens; level > 1 && lack > 0 {
				at = max(at, t.now+int64(lack*1e9/againRate))
			}
			sooner(at)
		}
	}
	if t.holding.head != none {
		sooner(t.expires())
	}
	if i := t.candidates.head; i != none {
		sooner(t.flows[i].listAt)
	}
	if t.dark != 0 && !t.changing {
		sooner(t.now + min(t.darkLeft(), awayStep)) // to sleep is not to be away
	}
	return next
}
