package gate

// propose makes a flow with enough packets a candidate for the settled set.
func (t *Table) propose(i int32) {
	f := &t.flows[i]
	if !t.cfg.List || f.packets < listAfter || t.candidateLinks[i].in || !listable(&f.key) {
		return
	}
	f.listAt = t.now + quiet
	t.candidates.push(t.candidateLinks, i)
}

// candidatesFor lays out questions for flows that have paused and hold nothing.
func (t *Table) candidatesFor(q []Question, n int) int {
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
		default:
			n = t.question(q, n, i)
		}
	}
	return n
}

// list hands a flow that conntrack has over to the settled set, if it has paused
// and goes on sending. From then on it counts its packets from the beginning.
func (t *Table) list(i int32) {
	f := &t.flows[i]
	if !t.cfg.List || f.packets < listAfter || t.now-f.seen < quiet || !listable(&f.key) {
		return
	}
	f.packets = 0
	t.Counters.Listed++
	tuple, _ := Zone(&f.key)
	t.Listed = append(t.Listed, tuple)
}

// SetListing begins or ends the listing of flows.
func (t *Table) SetListing(on bool) { t.cfg.List = on }
