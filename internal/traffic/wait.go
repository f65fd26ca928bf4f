package traffic

import (
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The sending threads are locked to their goroutines. Waking such a goroutine through a channel hands a P and a
// thread around, which takes longer than the burst whose start it is to time; a futex wakes the thread itself.
const (
	futexWaitPrivate = 0 | 128 // FUTEX_WAIT | FUTEX_PRIVATE_FLAG
	futexWakePrivate = 1 | 128 // FUTEX_WAKE | FUTEX_PRIVATE_FLAG
)

// futexWait sleeps while *word is val, for d at most. It may return early (a signal, a wake meant for an earlier
// wait), so callers look at their condition again. d must be positive.
func futexWait(word *atomic.Uint32, val uint32, d time.Duration) {
	ts := unix.NsecToTimespec(int64(d))
	// Syscall, not RawSyscall: the garbage collector must not wait for this thread.
	_, _, _ = syscall.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWaitPrivate, uintptr(val),
		uintptr(unsafe.Pointer(&ts)), 0, 0)
}

func futexWake(word *atomic.Uint32) {
	const all = 1<<31 - 1
	_, _, _ = syscall.RawSyscall(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWakePrivate, all)
}

// event is a counter that threads can sleep on.
type event struct {
	word    atomic.Uint32
	waiters atomic.Int32
}

// load returns the count to hand to wait, read before the condition is looked at.
func (e *event) load() uint32 { return e.word.Load() }

// bump wakes whoever sleeps. It is a system call only if somebody does.
func (e *event) bump() {
	e.word.Add(1)
	if e.waiters.Load() > 0 {
		futexWake(&e.word)
	}
}

// wait returns when the count is no longer seen, after d, or earlier.
func (e *event) wait(seen uint32, d time.Duration) {
	if d <= 0 {
		return
	}
	e.waiters.Add(1)
	futexWait(&e.word, seen, d)
	e.waiters.Add(-1)
}

// backoff paces a thread that polls for something which takes a microsecond when every thread has a CPU: it
// spins, then yields, then sleeps, so that with fewer CPUs than threads the one waited for gets to run.
type backoff struct {
	spins int // polls left before the first yield
	polls int
}

const (
	spinPolls  = 20000 // some 30 us: a thread that waits for the next flow's socket need not sleep
	yieldPolls = 500
	pollSleep  = 50 * time.Microsecond
)

func (b *backoff) pause() {
	if b.spins > 0 {
		b.spins--
		return
	}
	b.polls++
	if b.polls < yieldPolls {
		_, _, _ = syscall.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
		return
	}
	ts := unix.NsecToTimespec(int64(pollSleep))
	_ = unix.Nanosleep(&ts, nil)
}

// answer lets the far end of a flow begin when the near end has begun.
type answer struct{ told atomic.Bool }

func (a *answer) reset() { a.told.Store(false) }
func (a *answer) tell()  { a.told.Store(true) }

// wait ends with the burst, which always tells.
func (a *answer) wait() {
	w := backoff{spins: spinPolls}
	for !a.told.Load() {
		w.pause()
	}
}
