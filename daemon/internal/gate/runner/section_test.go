package runner

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"verdictd/daemon/internal/gate"
)

// TestEpochEndsWhenSectionsHave: what a worker releases in an epoch is released before
// the epoch is said to have ended.
func TestEpochEndsWhenSectionsHave(t *testing.T) {
	const workers = 4
	var e epochs
	e.current.Store(1)
	var sections []*section
	var released [gate.EpochsKept * 100]atomic.Int64
	var stop atomic.Bool
	var group sync.WaitGroup
	for range workers {
		s := &section{epochs: &e}
		sections = append(sections, s)
		group.Go(func() {
			for !stop.Load() {
				n := s.enter()
				runtime.Gosched()
				released[n].Add(1)
				s.leave()
			}
		})
	}
	counts := make([]int64, len(released))
	for n := uint64(2); n < 300; n++ {
		if ended := e.next(n, sections); ended != n-1 {
			t.Fatalf("epoch %d ended, want %d", ended, n-1)
		}
		counts[n-1] = released[n-1].Load()
	}
	stop.Store(true)
	group.Wait()
	for n := range counts[:299] {
		if now := released[n].Load(); now != counts[n] {
			t.Errorf("epoch %d: %d were released when it had ended, and %d after", n, counts[n], now-counts[n])
		}
	}
}

// TestNextWaitsForSections of older epochs only.
func TestNextWaitsForSections(t *testing.T) {
	var e epochs
	e.current.Store(1)
	old, idle := &section{epochs: &e}, &section{epochs: &e}
	old.enter()
	ended := make(chan uint64)
	go func() { ended <- e.next(2, []*section{old, idle}) }()
	select {
	case <-ended:
		t.Error("an epoch ended while a worker was in it")
	case <-time.After(20 * time.Millisecond):
	}
	if n := idle.enter(); n != 2 {
		t.Errorf("a worker entered epoch %d, want the next one", n)
	}
	old.leave()
	if n := <-ended; n != 1 {
		t.Errorf("epoch %d ended, want 1", n)
	}
}

// TestNewsOfEpochs: a table is told of each once, and of one that has the place of an
// earlier one.
func TestNewsOfEpochs(t *testing.T) {
	var e epochs
	s := &section{epochs: &e}
	table, err := gate.New(gate.Default())
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []uint64{1, 3, gate.EpochsKept + 1} {
		e.resolve(n)
		s.news(table)
		if got := s.done[n%gate.EpochsKept]; got != n {
			t.Errorf("the table was told of epoch %d, want %d", got, n)
		}
	}
	if s.done[3] != 3 || s.seen != 3 {
		t.Errorf("told of %v", s.done)
	}
}
