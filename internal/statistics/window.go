package statistics

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// A Window lets others look at what one thread owns, its counters above all, while
// that thread runs. What it owns stays plain: the thread pays one load a turn, and two
// exchanges for each wait for something to do. A nil Window is one that nobody looks
// through. The zero value is open.
//
// The thread calls Shut when it begins and when a wait is over, Open before a wait and at
// its end, and Turn now and then between. Calls do not nest.
type Window struct {
	state   atomic.Uint32
	asked   atomic.Pointer[question]
	looking sync.Mutex // held by who looks: one at a time
}

// States of a Window.
const (
	open   = iota // the owner waits: who looks may do so
	shut          // the owner is at work: it looks for them, at its next turn
	looked        // somebody looks: the owner waits for the end of it
)

// question is a look that the owner is asked for.
type question struct {
	look func()
	done chan struct{}
}

// lookAgain is how often who waits for the owner sees whether it waits by now.
const lookAgain = 200 * time.Microsecond

// Open tells that the owner changes nothing until Shut.
func (w *Window) Open() {
	if w == nil {
		return
	}
	w.Turn()
	w.state.Store(open)
}

// Shut returns when nobody looks, which takes as long as a look: microseconds.
func (w *Window) Shut() {
	if w == nil {
		return
	}
	for !w.state.CompareAndSwap(open, shut) {
		runtime.Gosched()
	}
}

// Turn looks for who has asked.
func (w *Window) Turn() {
	if w == nil {
		return
	}
	if q := w.asked.Load(); q != nil && w.asked.CompareAndSwap(q, nil) {
		q.look()
		close(q.done)
	}
}

// Look calls look while the owner changes nothing: on this goroutine, or on the owner's
// thread, so that look must be quick and neither allocate nor wait. It reports whether
// it did so: an owner that has neither waited nor turned within a time is at work still,
// or stuck.
func (w *Window) Look(within time.Duration, look func()) bool {
	w.looking.Lock()
	defer w.looking.Unlock()
	if w.tryLook(look) {
		return true
	}
	q := &question{look, make(chan struct{})}
	w.asked.Store(q)
	end := time.NewTimer(within)
	again := time.NewTicker(lookAgain)
	defer end.Stop()
	defer again.Stop()
	for {
		select {
		case <-q.done:
			return true
		case <-again.C:
			// The owner may have begun to wait just before it was asked.
			if w.tryLook(func() { w.withdraw(q, look) }) {
				return true
			}
		case <-end.C:
			if w.asked.CompareAndSwap(q, nil) {
				return false
			}
			<-q.done // the owner looks right now
			return true
		}
	}
}

// tryLook looks where the owner waits.
func (w *Window) tryLook(look func()) bool {
	if !w.state.CompareAndSwap(open, looked) {
		return false
	}
	look()
	w.state.Store(open)
	return true
}

// withdraw looks in place of the owner, if that has not done so by itself.
func (w *Window) withdraw(q *question, look func()) {
	if w.asked.CompareAndSwap(q, nil) {
		look()
	}
}
