package gate

import (
	"sync/atomic"

	"verdictd/internal/packet"
)

// A Listing is a flow to be put into the settled set, by the tuple of one of its
// directions, as long as it is not Touched.
type Listing struct {
	Tuple packet.Key
	// Touches are counted in the table; Then is how many there had been.
	Touches *atomic.Uint32
	Then    uint32
}

// Touched reports whether a packet of the flow has come since it was handed over,
// or whether nobody knows, as the flow is not remembered any more. It may be called
// from other goroutines than the table's.
func (l *Listing) Touched() bool { return l.Touches.Load() != l.Then }

// propose makes a flow with enough packets a candidate for the settled set.
func (t *Table) propose(i int32) {
	f := &t.flows[i]
	if !t.cfg.List || f.packets < t.listAfter || t.candidateLinks[i].in || !listable(&f.key) {
		return
	}
	f.listAt = t.now + quiet
	t.candidates.push(t.candidateLinks, i)
}

// candidatesFor lays out questions for flows that have paused and hold nothing, and
// whose packets are past all queues: in a queue that later ones do not take they
// would be overtaken.
func (t *Table) candidatesFor(q []Question, n int) int {
	if t.candidates.head == none {
		return n
	}
	oldest, waits := t.unresolved(0, t.epoch)
	for n < len(q) {
		i := t.candidates.head
		if i == none || t.flows[i].listAt > t.now {
			break
		}
		t.candidates.remove(t.candidateLinks, i)
		f := &t.flows[i]
		switch {
		case f.head != none || t.now-f.seen < quiet:
			t.propose(i)
		case waits && oldest <= f.passed:
			t.listsAfter = max(t.listsAfter, f.passed)
			t.propose(i)
		default:
			n = t.question(q, n, i)
		}
	}
	return n
}

// underWay reports whether packets may be on their way that were released in an
// epoch or before.
func (t *Table) underWay(epoch uint64) bool {
	_, unresolved := t.unresolved(0, epoch)
	return unresolved
}

// list hands a flow that conntrack has over to the settled set, if it has paused
// and goes on sending. From then on it counts its packets from the beginning.
func (t *Table) list(i int32) {
	f := &t.flows[i]
	if !t.cfg.List || f.packets < t.listAfter || t.now-f.seen < quiet || !listable(&f.key) || t.underWay(f.passed) {
		return
	}
	f.packets, f.listed = 0, t.now
	t.Counters.Listed++
	tuple, _ := Zone(&f.key)
	t.Listed = append(t.Listed, Listing{tuple, &t.touches[i], t.touches[i].Load()})
}

// touch notes a packet of a flow that was handed over: it goes on sending before it
// is listed, or was on its way to the gate when it was, or its element is gone.
// Whoever lists may be late, so the first one counts however late it comes.
func (t *Table) touch(i int32) {
	f := &t.flows[i]
	t.touches[i].Add(1)
	if t.now-f.listed > listedJustNow {
		f.listed = 0
		return
	}
	t.Counters.Touched++
	f.packets = max(f.packets, t.listAfter)
}

// SetListing begins or ends the listing of flows.
func (t *Table) SetListing(on bool) { t.cfg.List = on }
