package runner

import (
	"runtime"
	"sync/atomic"
	"time"

	"verdictd/internal/gate"
)

// epochs number the time for all workers: what is released in one epoch is waited
// for together.
type epochs struct {
	current atomic.Uint64
	// resolved holds, for each place in gate's table, the epoch there whose
	// packets are past all queues; changes counts them.
	resolved [gate.EpochsKept]atomic.Uint64
	changes  atomic.Uint64
}

// A section is the time in which a worker may release packets of an epoch. The
// watcher can tell when those of an epoch have ended.
type section struct {
	epochs *epochs
	in     atomic.Uint64 // 0: outside
	seen   uint64
	done   [gate.EpochsKept]uint64
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

// news calls resolve for each epoch that has been resolved since the last call.
func (s *section) news(resolve func(epoch uint64)) {
	n := s.epochs.changes.Load()
	if n == s.seen {
		return
	}
	s.seen = n
	for i := range s.epochs.resolved {
		if e := s.epochs.resolved[i].Load(); e != s.done[i] {
			s.done[i] = e
			resolve(e)
		}
	}
}

// next begins an epoch and returns when no section of an older one is under way.
func (e *epochs) next(sections []*section) (ended uint64) {
	now := e.current.Add(1)
	for _, s := range sections {
		for in := s.in.Load(); in != 0 && in < now; in = s.in.Load() {
			runtime.Gosched()
			time.Sleep(20 * time.Microsecond)
		}
	}
	return now - 1
}

func (e *epochs) resolve(epoch uint64) {
	e.resolved[epoch%gate.EpochsKept].Store(epoch)
	e.changes.Add(1)
}
