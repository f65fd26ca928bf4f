package gate

import "slices"

// EpochsKept is how many epochs may be under way, the present one included.
const EpochsKept = 64

// maxWaits is how many epochs are waited for one by one. What comes to a queue
// that stands still keeps an epoch each, which are joined then.
const maxWaits = EpochsKept * 3 / 4

// maxRounds bounds the queues that one packet meets one after the other.
const maxRounds = 4

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
//
// All this counts what left a queue by a verdict. A device that goes down takes its
// packets out of the middle of every queue, and the numbers do not tell that from
// verdicts: who takes readings has to learn of it otherwise, see Restart.
type Progress struct {
	waits []wait
	paces []pace
	// from is a reading of before the present epoch, now the one taken last, and
	// last the one before.
	from, last, now []Reading
	// Rounds is how many queues a packet may meet one after the other; a queue that
	// rules at two hooks feed counts twice. 0: as many as there are queues, up to 4.
	Rounds int
	// Patient: programs may take as long as they want for a packet, as one that asks
	// a person does, and judge others meanwhile. Then time proves nothing.
	Patient bool
	// Joined is called where an epoch is resolved together with an earlier one from
	// now on: every table's Join.
	Joined func(epoch, earlier uint64)
}

// wait is for one epoch, or several that were joined.
type wait struct {
	epoch    uint64
	until    uint64 // the last one
	from, to []Reading
	marks    []mark
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
	w.marks, w.round, w.past, w.covered = nil, min(w.round, o.round), false, false
	p.waits = slices.Delete(p.waits, at+1, at+2)
}

// Read takes a reading, of about the given time in nanoseconds, and reports whether
// a barrier is needed: packets of some epoch are past all queues that they had come
// to.
func (p *Progress) Read(at int64, now []Reading) (barrier bool) {
	p.took(now)
	p.run(at, now)
	for i := range p.waits {
		w := &p.waits[i]
		w.past = w.past || !p.blocked(w, now, p.note)
		barrier = barrier || w.past
	}
	return barrier
}

// Restart tells that packets may have left queues without a verdict since the last
// reading: nothing counts that was judged before this one. Where it is taken after
// the packets have left it is right, and where it is taken again and again until
// they have left, too.
func (p *Progress) Restart(now []Reading) {
	p.took(now)
	for i := range p.waits {
		w := &p.waits[i]
		w.marks, w.past, w.covered = nil, false, false
		w.to = slices.Clone(w.to)
		for i, to := range w.to {
			from, ok := find(w.from, to)
			r, there := find(now, to)
			if there && (!ok || from.Sequence != to.Sequence) && int32(r.Sequence-to.Sequence) > 0 {
				w.to[i].Sequence = r.Sequence
			}
		}
	}
}

// took notes a reading, unless it is the one that was noted last.
func (p *Progress) took(now []Reading) {
	if len(now) == 0 || len(p.now) == 0 || &now[0] != &p.now[0] {
		p.last, p.now = p.now, now
	}
}

// blocked reports whether packets of an epoch may wait in a queue. It looks at all
// of them, and tells each.
func (p *Progress) blocked(w *wait, now []Reading, tell func(w *wait, to Reading, ahead int32)) (blocked bool) {
	for to, r := range w.came(now) {
		at, ok := find(p.last, to)
		if !ok {
			at = to
		}
		// One packet may have its number and not count as waiting yet.
		ahead := r.ahead(at, to) - 1
		tell(w, to, ahead)
		blocked = blocked || !p.passed(w, to, ahead)
	}
	return blocked
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
			w.from, w.to, w.marks = w.to, withLost(now, p.last), nil
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

// Blocking are the queues that any epoch waits for, as of the last Read.
func (p *Progress) Blocking() (list []uint16) {
	for i := range p.waits {
		w := &p.waits[i]
		if w.past {
			continue
		}
		p.blocked(w, p.now, func(w *wait, to Reading, ahead int32) {
			if !p.passed(w, to, ahead) && !slices.Contains(list, to.Queue) {
				list = append(list, to.Queue)
			}
		})
	}
	return list
}
