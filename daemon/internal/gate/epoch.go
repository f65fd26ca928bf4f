package gate

// An epoch has the pending flows that it is the oldest unresolved epoch of.
type epoch struct {
	list
	number     uint64
	unresolved bool
}

// begin says whose place this is from now on. Whoever counts the epochs gives
// none a place that an unresolved one has (Progress.Next).
func (e *epoch) begin(number uint64) {
	if e.number != number || !e.unresolved {
		e.number, e.unresolved = number, true
	}
}

// setEpoch notes that a packet of a pending flow has gone on just now. Those that
// did so before may be on their way longer than it.
func (t *Table) setEpoch(i int32) {
	f := &t.flows[i]
	f.resolved, f.last, f.passed = false, t.epoch, t.epoch
	if !t.epochLinks[i].in {
		t.await(i, t.epoch)
	}
}

func (t *Table) await(i int32, number uint64) {
	t.flows[i].epoch = number
	t.epochs[number%EpochsKept].push(t.epochLinks, i)
}

// Resolve tells that every packet that was released in an epoch is confirmed or
// dropped by now.
func (t *Table) Resolve(number uint64) {
	e := &t.epochs[number%EpochsKept]
	if e.number > number {
		return // it is resolved, and another one has its place
	}
	// An older one with that place was resolved before this one began.
	number, e.unresolved = e.number, false
	for e.head != none {
		i := e.head
		e.remove(t.epochLinks, i)
		f := &t.flows[i]
		next, ok := t.unresolved(number, f.last)
		switch {
		case ok:
			t.await(i, next)
		case f.head == none:
			t.idle(i)
		default:
			f.resolved, f.several = true, false
			t.ask(i, dueNow)
		}
	}
}

// unresolved is the oldest epoch after one and up to another that is so.
func (t *Table) unresolved(after, last uint64) (number uint64, ok bool) {
	if after == last {
		return 0, false
	}
	for i := range t.epochs {
		if e := &t.epochs[i]; e.unresolved && e.number > after && e.number <= last && (!ok || e.number < number) {
			number, ok = e.number, true
		}
	}
	return number, ok
}

// Join tells that an epoch is resolved together with an earlier one.
func (t *Table) Join(number, earlier uint64) {
	e := &t.epochs[number%EpochsKept]
	if e.number != number {
		return
	}
	e.unresolved = false
	t.epochs[earlier%EpochsKept].begin(earlier)
	for e.head != none {
		i := e.head
		e.remove(t.epochLinks, i)
		t.await(i, earlier)
	}
}
