package gate

import "slices"

// EpochsKept is how many epochs may be under way, the present one included.
const EpochsKept = 64

// maxWaits is how many epochs are waited for one by one. What comes to a queue
// that stands still keeps an epoch each, which are joined then.
const maxWaits = EpochsKept * 3 / 4

// maxRounds bounds the queues that one packet meets one after the other.
const maxRounds = 4

// outOfOrder is how many packets a program of others may judge before one that
// was queued earlier: threads that share a queue, and packets that are looked at
// longer. Nothing tells which packets wait, only how many.
const outOfOrder = 256

// Progress finds out when packets that were released are past every other queue.
//
// That a queue is empty proves nothing: the kernel takes a packet out of it
// before the packet goes on its way, and nobody seems to have it until it is in
// the next queue, confirmed or dropped. So what was released in an epoch is past a
// queue when that has judged as many packets as had come to it by then, and a
// memory barrier of the kernel (membarrier(2), MEMBARRIER_CMD_GLOBAL, which waits
// for all that run in it) has returned since. It may be in another queue then:
// queues that packets came to meanwhile are waited for in a further round.
//
// A queue that no packet came to, from before the epoch until the last release of
// it, has none of them, and may stand still for ever.
type Progress struct {
	waits []wait
	// from is a reading of before the present epoch, now the one taken last, and
	// last the one before.
	from, last, now []Reading
	// Rounds is how many queues a packet may meet one after the other; a queue that
	// rules at two hooks feed counts twice. 0: as many as there are queues, up to 4.
	Rounds int
	// Joined is called where an epoch is resolved together with an earlier one from
	// now on: every table's Join.
	Joined func(epoch, earlier uint64)
}

// wait is for one epoch, or several that were joined.
type wait struct {
	epoch    uint64
	until    uint64 // the last one
	from, to []Reading
	round    int
	past     bool // every queue: a barrier is next
	covered  bool // by the barrier that is under way
}

// Waits is how many epochs are waited for.
func (p *Progress) Waits() int { return len(p.waits) }

// Next is the number of the epoch after the present one, and whether that may
// end: not all may be under way. Numbers are left out whose place in the tables
// is that of one that is waited for.
func (p *Progress) Next(epoch uint64) (next uint64, ok bool) {
	if len(p.waits) > EpochsKept-2 {
		return 0, false
	}
	taken := func(w wait) bool { return (next-w.epoch)%EpochsKept == 0 }
	for next = epoch + 1; (next-epoch)%EpochsKept == 0 || slices.ContainsFunc(p.waits, taken); {
		next++
	}
	return next, true
}

// Start takes a reading of before the first epoch.
func (p *Progress) Start(r []Reading) { p.from, p.last, p.now = r, r, r }

// End ends an epoch. before was read before the next one began, after when all
// that was released in this one had returned. Readings are kept: each is to have
// its own memory.
func (p *Progress) End(epoch uint64, before, after []Reading) {
	p.waits = append(p.waits, wait{epoch: epoch, until: epoch, from: p.from, to: withLost(after, before)})
	p.took(before)
	p.took(after)
	p.from = before
	if len(p.waits) > maxWaits && p.Joined != nil {
		p.join()
	}
}

// join makes one wait of two that follow each other. They are resolved as late as
// the later one, so it takes the two that are the shortest for their age: an old
// one waits for something that stands still.
func (p *Progress) join() {
	now := p.waits[len(p.waits)-1].until
	best, at := 0.0, 0
	for i := range p.waits[1:] {
		early, late := &p.waits[i], &p.waits[i+1]
		if cost := float64(late.until-early.epoch) / float64(now-late.until+1); i == 0 || cost < best {
			best, at = cost, i
		}
	}
	w, o := &p.waits[at], &p.waits[at+1]
	p.Joined(o.epoch, w.epoch)
	w.until = o.until
	w.from = union(w.from, o.from, false)
	w.to = union(w.to, o.to, true)
	w.round, w.past, w.covered = min(w.round, o.round), false, false
	p.waits = slices.Delete(p.waits, at+1, at+2)
}

// Read takes a reading and reports whether a barrier is needed: packets of some
// epoch are past all queues that they had come to.
func (p *Progress) Read(now []Reading) (barrier bool) {
	p.took(now)
	for i := range p.waits {
		w := &p.waits[i]
		w.past = w.past || len(w.blocking(p.last, now)) == 0
		barrier = barrier || w.past
	}
	return barrier
}

// took notes a reading, unless it is the one that was noted last.
func (p *Progress) took(now []Reading) {
	if len(now) == 0 || len(p.now) == 0 || &now[0] != &p.now[0] {
		p.last, p.now = p.now, now
	}
}

// blocking are the queues that packets of the epoch may wait in. last was read
// before now.
func (w *wait) blocking(last, now []Reading) (list []uint16) {
	for to, r := range w.came(now) {
		at, ok := find(last, to)
		if !ok {
			at = to
		}
		// One packet may have its number and not count as waiting yet.
		ahead := r.ahead(at, to) - 1
		if to.InOrder && ahead >= 0 || ahead >= outOfOrder {
			continue
		}
		list = append(list, to.Queue)
	}
	return list
}

// came are the queues that packets came to, and where packets wait.
func (w *wait) came(now []Reading) func(yield func(to, now Reading) bool) {
	return func(yield func(to, now Reading) bool) {
		for _, to := range w.to {
			if from, ok := find(w.from, to); ok && from.Sequence == to.Sequence {
				continue // none came
			}
			r, ok := find(now, to)
			if !ok || r.Waiting == 0 || int32(r.Sequence-to.Sequence) < 0 {
				continue // the queue is gone, or another one, and all that was in it; or it is empty
			}
			if !yield(to, r) {
				return
			}
		}
	}
}

// BarrierBegins tells that a barrier is about to begin. It counts for what the
// last Read found to be past.
func (p *Progress) BarrierBegins() {
	for i := range p.waits {
		p.waits[i].covered = p.waits[i].past
	}
}

// BarrierEnds tells that it has returned, and takes a reading of after it.
// Resolved is called for each epoch whose packets are all confirmed or dropped.
func (p *Progress) BarrierEnds(now []Reading, resolved func(epoch uint64)) {
	p.took(now)
	kept := p.waits[:0]
	for _, w := range p.waits {
		switch {
		case !w.covered:
		case w.arrived(now):
			w.past, w.covered = false, false
		default:
			w.round++
			w.past, w.covered = false, false
			// The last packet of a queue may have had its number, and been on its way
			// into it, when that was read: so nothing must have come for a round.
			moved := moved(w.from, w.to) || moved(w.to, now)
			w.from, w.to = w.to, withLost(now, p.last)
			if w.round >= p.rounds(now) || !moved {
				resolved(w.epoch)
				continue
			}
		}
		kept = append(kept, w)
	}
	clear(p.waits[len(kept):])
	p.waits = kept
}

// arrived reports whether a packet that came to a queue only then, with a number
// but not waiting yet, waits there now.
func (w *wait) arrived(now []Reading) bool {
	for to, r := range w.came(now) {
		if r.ahead(r, to) < 0 {
			return true
		}
	}
	return false
}

// moved reports whether packets came to any queue between two readings.
func moved(from, to []Reading) bool {
	for _, r := range to {
		if f, ok := find(from, r); !ok || f.Sequence != r.Sequence {
			return true
		}
	}
	return false
}

func (p *Progress) rounds(now []Reading) int {
	if p.Rounds > 0 {
		return p.Rounds
	}
	return min(max(len(now), 1), maxRounds)
}

// Blocking are the queues that the oldest epoch waits for.
func (p *Progress) Blocking(now []Reading) []uint16 {
	if len(p.waits) == 0 {
		return nil
	}
	return p.waits[0].blocking(p.last, now)
}
