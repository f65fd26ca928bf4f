package nfnl

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// onThread runs f on a thread of its own, which ends with it.
func onThread(f func()) {
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer close(done)
		f()
	}()
	<-done
}

// TestPrepareThread: a thread asks for short slices, and is on the CPU that it is given.
func TestPrepareThread(t *testing.T) {
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		t.Fatal(err)
	}
	last := 0
	for cpu := range 1024 {
		if allowed.IsSet(cpu) {
			last = cpu
		}
	}
	onThread(func() {
		if err := PrepareThread([]int{1023, last}, 3); err != nil {
			t.Error(err)
			return
		}
		var set unix.CPUSet
		if err := unix.SchedGetaffinity(0, &set); err != nil || set.Count() != 1 || !set.IsSet(last) {
			t.Errorf("on CPUs %v, %v; want %d alone", set, err, last)
		}
		attr, err := unix.SchedGetAttr(0, 0)
		if err != nil {
			t.Error(err)
			return
		}
		// Before Linux 6.12 it is 0, whatever was asked for.
		if attr.Policy != unix.SCHED_NORMAL || attr.Runtime != 0 && attr.Runtime != slice {
			t.Errorf("%+v, want slices of %d ns where the kernel has them", attr, slice)
		}
	})
	onThread(func() {
		if err := PrepareThread([]int{1023}, 0); err == nil && !allowed.IsSet(1023) {
			t.Error("pinned to a CPU that there is not")
		}
	})
}

// TestPrepareThreadKeeps: what an operator has chosen for a process stays: its policy and priority, its nice value, and
// that threads do not inherit them.
func TestPrepareThreadKeeps(t *testing.T) {
	const inherited = unix.SCHED_FLAG_RESET_ON_FORK
	for name, chosen := range map[string]unix.SchedAttr{
		"as usual":                   {Policy: unix.SCHED_NORMAL},
		"nice":                       {Policy: unix.SCHED_NORMAL, Nice: 7},
		"not nice":                   {Policy: unix.SCHED_NORMAL, Nice: -5},
		"nice, not inherited":        {Policy: unix.SCHED_NORMAL, Nice: 7, Flags: inherited},
		"batch":                      {Policy: unix.SCHED_BATCH, Nice: 3},
		"idle":                       {Policy: unix.SCHED_IDLE},
		"first come":                 {Policy: unix.SCHED_FIFO, Priority: 10},
		"in turn, not inherited":     {Policy: unix.SCHED_RR, Priority: 10, Flags: inherited},
		"a slice of somebody else's": {Policy: unix.SCHED_NORMAL, Runtime: 5_000_000},
	} {
		t.Run(name, func(t *testing.T) {
			onThread(func() {
				if err := unix.SchedSetAttr(0, &chosen, 0); err != nil {
					t.Logf("not to be had here: %v", err) // real time and going before others are root's
					return
				}
				before, err := unix.SchedGetAttr(0, 0)
				if err == nil {
					err = PrepareThread(nil, 0)
				}
				if err != nil {
					t.Error(err)
					return
				}
				after, err := unix.SchedGetAttr(0, 0)
				if err != nil {
					t.Error(err)
					return
				}
				if before.Runtime = after.Runtime; *after != *before {
					t.Errorf("%+v, before %+v", after, before)
				}
				if short := after.Runtime == slice; short != (chosen.Policy == unix.SCHED_NORMAL) && after.Runtime != 0 {
					t.Errorf("slices of %d ns", after.Runtime)
				}
			})
		})
	}
}

// TestPrepareThreadAlone: threads that Go makes later have nothing of what a thread was prepared with.
func TestPrepareThreadAlone(t *testing.T) {
	var all unix.CPUSet
	usual, err := unix.SchedGetAttr(0, 0)
	if err := errors.Join(err, unix.SchedGetaffinity(0, &all)); err != nil {
		t.Fatal(err)
	}
	slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	cpu := 0
	for !all.IsSet(cpu) {
		cpu++
	}
	onThread(func() {
		if err := PrepareThread([]int{cpu}, 0); err != nil {
			t.Error(err)
			return
		}
		const others = 20 // all at once, so that most are new
		var made, looked sync.WaitGroup
		made.Add(others)
		for range others {
			looked.Go(func() {
				runtime.LockOSThread()
				made.Done()
				made.Wait()
				var set unix.CPUSet
				attr, err := unix.SchedGetAttr(0, 0)
				err = errors.Join(err, unix.SchedGetaffinity(0, &set))
				its, other := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
				if err = errors.Join(err, other); err != nil || *attr != *usual || set != all || its != slack {
					t.Errorf("%+v on CPUs %v with a slack of %d ns (%v), want %+v, %v and %d", attr, set, its, err, usual, all, slack)
				}
			})
		}
		looked.Wait()
	})
}

// TestTurns: where the operator leaves fewer processors than threads, a thread that has
// always something to do gives way at the end of its turn, and not before. Where each has
// a processor of its own it never does.
func TestTurns(t *testing.T) {
	for _, set := range []string{"1", "", "0", "-1", "all"} {
		share := set == "1" // the others are nothing to the runtime
		t.Setenv("GOMAXPROCS", set)
		before := runtime.GOMAXPROCS(1)
		ended := AddThreads(1)
		asked := 0
		turn, now := Turn{}, int64(longestTurn)
		clock := func() int64 { asked++; return now }
		turn.Over(now-1, clock)
		if asked != 0 {
			t.Errorf("GOMAXPROCS=%q: gave way within its turn", set)
		}
		var ran atomic.Bool
		go ran.Store(true)
		turn.Over(now, clock)
		if gave := asked == 1; gave != share || gave && (!ran.Load() || turn.began != now) {
			t.Errorf("GOMAXPROCS=%q: gave way: %v, others ran: %v, turn began at %d, now %d", set, gave, ran.Load(), turn.began, now)
		}
		ended()
		runtime.GOMAXPROCS(before)
	}
	if sharing != 0 || crowded.Load() {
		t.Errorf("%d threads share processors when all have ended, crowded: %v", sharing, crowded.Load())
	}
}
