package gate

import "verdictd/internal/packet"

// A Listing is a flow to be put into the settled set: its number in the table, by
// which Touched tells of it, and the tuple of one of its directions.
type Listing struct {
	Flow  int32
	Tuple packet.Key
}

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
	if t.candidates.length == 0 {
		t.listingWaits = false
	}
	for n < len(q) {
		i := t.candidates.head
		if i == none || t.flows[i].listAt > t.now {
			break
		}
		t.listingWaits = false
		t.candidates.remove(t.candidateLinks, i)
		switch f := &t.flows[i]; {
		case f.head != none || t.now-f.seen < quiet:
			t.propose(i)
		case t.underWay(f.passed):
			t.propose(i)
			t.listingWaits = true
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
	t.Touched[i].Store(false)
	t.Counters.Listed++
	tuple, _ := Zone(&f.key)
	t.Listed = append(t.Listed, Listing{i, tuple})
}

// touch notes a packet of a flow that was handed over just now: it goes on sending
// before it is listed, or was on its way to the gate when it was.
func (t *Table) touch(i int32) {
	f := &t.flows[i]
	if t.now-f.listed > listedJustNow {
		f.listed = 0
		return
	}
	t.Counters.Touched++
	t.Touched[i].Store(true)
	f.packets = max(f.packets, t.listAfter)
}

// SetListing begins or ends the listing of flows.
func (t *Table) SetListing(on bool) { t.cfg.List = on }
