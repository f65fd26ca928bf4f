package gate

// EpochsKept is how many epochs may be under way, the present one included.
const EpochsKept = 64

// maxRounds bounds the queues that one packet meets one after the other.
const maxRounds = 4

// outOfOrder is how many packets a program of others may judge before one that
// was queued earlier: threads that share a queue, and packets that are looked at
// longer. Nothing tells which packets wait, only how many.
const outOfOrder = 256

// A Reading is what the kernel tells of a queue (/proc/net/netfilter/nfnetlink_queue).
type Reading struct {
	Queue uint16
	Port  uint32
	// Sequence is the id of the last packet queued, Waiting how many have no
	// verdict yet.
	Sequence, Waiting uint32
	// InOrder: its program judges packets as they come.
	InOrder bool
}

// judged is how many packets were judged so far, if they are in order.
func (r Reading) judged() uint32 { return r.Sequence - r.Waiting }

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
	// from is a reading of before the present epoch.
	from []Reading
	// Rounds is how many queues a packet may meet one after the other; 0: as many
	// as there are, up to 4.
	Rounds int
}

// wait is for one epoch.
type wait struct {
	epoch    uint64
	from, to []Reading
	round    int
	past     bool // every queue: a barrier is next
	covered  bool // by the barrier that is under way
}

// Waits is how many epochs are waited for.
func (p *Progress) Waits() int { return len(p.waits) }

// MayEnd reports whether the present epoch may end: there is room to wait for it.
func (p *Progress) MayEnd(epoch uint64) bool {
	return len(p.waits) == 0 || epoch-p.waits[0].epoch < EpochsKept-2
}

// Start takes a reading of before the first epoch.
func (p *Progress) Start(r []Reading) { p.from = r }

// End ends an epoch. before was read before the next one began, after when all
// that was released in this one had returned.
func (p *Progress) End(epoch uint64, before, after []Reading) {
	p.waits = append(p.waits, wait{epoch: epoch, from: p.from, to: after})
	p.from = before
}

// Read takes a reading and reports whether a barrier is needed: packets of some
// epoch are past all queues that they had come to.
func (p *Progress) Read(now []Reading) (barrier bool) {
	for i := range p.waits {
		w := &p.waits[i]
		w.past = w.past || len(w.blocking(now)) == 0
		barrier = barrier || w.past
	}
	return barrier
}

// blocking are the queues that packets of the epoch may wait in.
func (w *wait) blocking(now []Reading) (list []uint16) {
	for _, to := range w.to {
		if from, ok := find(w.from, to); ok && from.Sequence == to.Sequence {
			continue // none came
		}
		r, ok := find(now, to)
		if !ok || r.Waiting == 0 {
			continue // the queue is gone, and all that was in it; or it is empty
		}
		ahead := int32(r.judged() - to.Sequence)
		if to.InOrder && ahead >= 0 || ahead >= outOfOrder {
			continue
		}
		list = append(list, to.Queue)
	}
	return list
}

// find looks for the same queue of the same program.
func find(list []Reading, of Reading) (Reading, bool) {
	for _, r := range list {
		if r.Queue == of.Queue && r.Port == of.Port {
			return r, true
		}
	}
	return Reading{}, false
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
	kept := p.waits[:0]
	for _, w := range p.waits {
		if w.covered {
			w.round++
			w.past, w.covered = false, false
			w.from, w.to = w.to, now
			if w.round >= p.rounds(now) || !w.moved() {
				resolved(w.epoch)
				continue
			}
		}
		kept = append(kept, w)
	}
	clear(p.waits[len(kept):])
	p.waits = kept
}

// moved reports whether packets came to any queue since the round before.
func (w *wait) moved() bool {
	for _, to := range w.to {
		if from, ok := find(w.from, to); !ok || from.Sequence != to.Sequence {
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
	return p.waits[0].blocking(now)
}
