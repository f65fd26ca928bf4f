package traffic

import (
	"sync/atomic"
	"time"
)

// barrier lets a leader and its helpers start each burst at the same instant. Helpers first gather, which may
// involve being woken from sleep; only when all spin on the word that fires does the leader set it.
type barrier struct {
	helpers int32
	spins   int // 0 where threads outnumber CPUs: spinning would keep the other side from running

	round   event         // the burst that is to come; helpers sleep on it between bursts
	resting atomic.Bool   // the next burst is not to come soon: helpers leave the CPU to others
	fire    atomic.Uint32 // the burst that may be sent
	ready   atomic.Int32
	done    atomic.Int32
	stopped atomic.Bool
}

func newBarrier(helpers, cpus int) *barrier {
	b := &barrier{helpers: int32(helpers)}
	if helpers < cpus {
		b.spins = spinPolls
	}
	return b
}

// rest lets the helpers sleep until the next gather. The leader calls it before it sleeps itself.
func (b *barrier) rest() { b.resting.Store(true) }

// gather returns when all helpers wait for nothing but release.
func (b *barrier) gather() {
	if b.helpers == 0 {
		return
	}
	b.ready.Store(0)
	b.done.Store(0)
	b.resting.Store(false)
	b.round.bump()
	w := backoff{spins: b.spins}
	for b.ready.Load() < b.helpers {
		w.pause()
	}
}

// release lets them go. What the leader wrote before is visible to them.
func (b *barrier) release() {
	if b.helpers > 0 {
		b.fire.Store(b.round.load())
	}
}

// spinning says whether every thread has a CPU, so that it need not sleep while it waits.
func (b *barrier) spinning() bool { return b.spins > 0 }

// finish waits until every helper has sent. What they wrote is visible to the leader afterwards.
func (b *barrier) finish() {
	w := backoff{spins: b.spins}
	for b.done.Load() < b.helpers {
		w.pause()
	}
}

// stop lets the helpers end. Only between finish and gather.
func (b *barrier) stop() {
	b.stopped.Store(true)
	b.round.bump()
}

// help runs send for each burst until the leader stops.
func (b *barrier) help(send func()) {
	const parkSlice = time.Second
	for seen := uint32(0); ; {
		w := backoff{spins: b.spins}
		for b.round.load() == seen {
			if w.spins > 0 && !b.resting.Load() {
				w.pause()
			} else {
				b.round.wait(seen, parkSlice)
			}
		}
		seen = b.round.load()
		if b.stopped.Load() {
			return
		}
		b.ready.Add(1)
		w = backoff{spins: b.spins}
		for b.fire.Load() != seen {
			w.pause()
		}
		send()
		b.done.Add(1)
	}
}
