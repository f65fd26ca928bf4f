package runner

import (
	"runtime"
	"sync/atomic"
	"time"

	"verdictd/daemon/internal/gate"
)

// epochs number the time for all workers: what is released in one epoch is waited
// for together.
type epochs struct {
	current atomic.Uint64
	// resolved holds, for each place in gate's table, the epoch there whose
	// packets are past all queues; changes counts them.
	resolved [gate.EpochsKept]atomic.Uint64
	changes  atomic.Uint64
	// joined is the last join of two epochs: all workers know it before anything
	// else changes.
	joined atomic.Pointer[join]
}

type join struct{ epoch, earlier uint64 }

// A section is the time in which a worker may release packets of an epoch. The
// watcher can tell when those of an epoch have ended.
type section struct {
	epochs *epochs
	in     atomic.Uint64 // 0: outside
	seen   uint64
	done   [gate.EpochsKept]uint64
	joined atomic.Pointer[join]
}

// enter begins a section and says in which epoch.
func (s *section) enter() uint64 {
	for {
		e := s.epochs.current.Load()
		s.in.Store(e)
		// Either the watcher sees this section, or this sees the watcher's epoch.
		if s.epochs.current.Load() == e {
			return e
		}
	}
}

func (s *section) leave() { s.in.Store(0) }

// join tells a table of epochs that were joined.
func (s *section) join(t *gate.Table) {
	if j := s.epochs.joined.Load(); j != s.joined.Load() {
		t.Join(j.epoch, j.earlier)
		s.joined.Store(j)
	}
}

// news tells a table of all epochs that have been resolved since the last call.
func (s *section) news(t *gate.Table) {
	n := s.epochs.changes.Load()
	if n == s.seen {
		return
	}
	s.seen = n
	for i := range s.epochs.resolved {
		if e := s.epochs.resolved[i].Load(); e != s.done[i] {
			s.done[i] = e
			t.Resolve(e)
		}
	}
}

// next begins an epoch and returns when no section of an older one is under way.
func (e *epochs) next(now uint64, sections []*section) (ended uint64) {
	ended = e.current.Swap(now)
	for _, s := range sections {
		for in := s.in.Load(); in != 0 && in < now; in = s.in.Load() {
			runtime.Gosched()
			time.Sleep(20 * time.Microsecond)
		}
	}
	return ended
}

func (e *epochs) resolve(epoch uint64) {
	e.resolved[epoch%gate.EpochsKept].Store(epoch)
	e.changes.Add(1)
}
