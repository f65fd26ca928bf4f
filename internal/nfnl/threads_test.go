package nfnl

import (
	"runtime"
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

// TestTurns: where the operator leaves fewer processors than threads, a thread that has
// always something to do gives way at the end of its turn, and not before. Where each has
// a processor of its own it never does.
func TestTurns(t *testing.T) {
	for _, set := range []string{"1", ""} {
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
		if gave := asked == 1; gave != (set != "") || gave && (!ran.Load() || turn.began != now) {
			t.Errorf("GOMAXPROCS=%q: gave way: %v, others ran: %v, turn began at %d, now %d", set, gave, ran.Load(), turn.began, now)
		}
		ended()
		runtime.GOMAXPROCS(before)
	}
	if sharing != 0 || crowded.Load() {
		t.Errorf("%d threads share processors when all have ended, crowded: %v", sharing, crowded.Load())
	}
}
