package nfnl

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

var processors sync.Mutex

// AddThreads tells Go's runtime that n threads begin that wait in system calls most
// of the time, and returns what tells it that they have ended.
//
// Go lets GOMAXPROCS threads run Go code at once. Where there are fewer than threads,
// its monitor takes that right away from each one that waits for 20 us, wakes up as
// often to do so, and the thread gets it back through other threads: together that
// cost as much as the packets did (runtime.retake, runtime.exitsyscall). An operator
// who sets GOMAXPROCS in the environment is obeyed; threads then share what there is: see
// Turn.
func AddThreads(n int) (ended func()) {
	// As the runtime reads it: what is no such number is nothing to it (runtime.schedinit).
	if set, err := strconv.Atoi(os.Getenv("GOMAXPROCS")); err == nil && set > 0 {
		share(n)
		return func() { share(-n) }
	}
	add := func(n int) {
		processors.Lock()
		defer processors.Unlock()
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + n)
	}
	add(n)
	return func() { add(-n) }
}

// sharing are the threads that the operator's GOMAXPROCS leaves to share processors, and
// crowded whether they are at least as many. GOMAXPROCS stays as it is then, and to ask for
// it takes the scheduler's lock.
var (
	sharing int
	crowded atomic.Bool
)

// share tells that n threads more share processors.
func share(n int) {
	processors.Lock()
	defer processors.Unlock()
	sharing += n
	crowded.Store(sharing >= runtime.GOMAXPROCS(0))
}

// longestTurn is how long a thread has a processor of Go's that others may wait for. The
// runtime takes it away after 10 ms, and what an operator waits for takes several turns.
const longestTurn = 2 * time.Millisecond

// A Turn is how long a thread that has always something to do has had its processor. For
// one goroutine.
type Turn struct{ began int64 }

// Over has the calling goroutine give way at the end of its turn, where there are fewer
// processors than threads. now is in nanoseconds, of a clock that is asked again when others
// have had their turns.
func (t *Turn) Over(now int64, clock func() int64) {
	if !crowded.Load() || now-t.began < int64(longestTurn) {
		return
	}
	runtime.Gosched()
	t.began = clock()
}

// slice is the time slice that threads ask for which packets wait for, in nanoseconds: the
// least that the kernel gives (Linux 6.12; before that it takes the number and ignores it).
// A thread that wakes up with a slice that is shorter than that of the one that runs has
// the CPU at once (kernel/sched/fair.c, PREEMPT_SHORT), where it waited for the end of 3 ms
// before, and its part of the CPU is the same.
const slice = 100_000

// PrepareThread has the calling thread wake up in time: without slack in its timers, before
// threads that compute, and, unless pin is empty, on the CPU pin[i modulo its length].
// Errors: a CPU that the process may not use.
func PrepareThread(pin []int, i int) error {
	// The pauses that threads make are as long as the default slack (50 us).
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set timer slack: %w", err)
	}
	GoFirst()
	if len(pin) == 0 {
		return nil
	}
	if err := MoveThread(0, pin, i, unix.CPUSet{}); err != nil {
		return fmt.Errorf("pin to CPU %d: %w: not a CPU that this process may use", pin[i%len(pin)], err)
	}
	return nil
}

// GoFirst has the calling thread go before threads that compute when it wakes up. Refused, packets
// wait a little longer now and then.
func GoFirst() {
	if attr, err := unix.SchedGetAttr(0, 0); err == nil && attr.Policy == unix.SCHED_NORMAL {
		attr.Runtime = slice
		_ = unix.SchedSetAttr(0, attr, 0)
	}
}

// MoveThread has a thread of this process (0: the calling one) run on the CPU pin[i modulo its length], or where
// pin is empty on all of some CPUs. The kernel has moved it when it runs next. Errors: a CPU
// that the process may not use, a thread that has ended.
func MoveThread(thread int, pin []int, i int, all unix.CPUSet) error {
	if len(pin) > 0 {
		all = unix.CPUSet{}
		all.Set(pin[i%len(pin)])
	}
	return unix.SchedSetaffinity(thread, &all)
}
