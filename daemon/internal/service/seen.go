package service

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"verdictd/daemon/internal/control"
	"verdictd/daemon/internal/gate/runner"
	"verdictd/daemon/internal/logs"
	"verdictd/daemon/internal/overload"
	"verdictd/internal/nfq"
	"verdictd/internal/statistics"
)

// seen is what others see of the life while it lasts.
type seen struct {
	monitor *overload.Monitor // nil: not yet, or no more
	drops   *logs.Drops       // nil: no packets are logged
	audited time.Time
	stale   bool        // rules have changed since the audit
	again   *time.Timer // when to audit, as they have; nil: nothing waits
	last    atomic.Pointer[statistics.Document]
	growTo  atomic.Int64                     // queues.receive_buffer_max, for other goroutines
	watched atomic.Pointer[overload.Monitor] // monitor, for other goroutines
}

// stuckAfter is how long a worker may stand while packets wait.
const stuckAfter = 10 * time.Second

// watch begins to look at the queues of the calling thread's network namespace.
func (s *service) watch() error {
	c := overload.Config{Log: s.Log, StuckAfter: stuckAfter, OnStuck: s.metrics.Stuck, Sources: []overload.Source{s.gateSource()}}
	if s.engine != nil {
		s.seen.growTo.Store(int64(s.cfg.Queues.ReceiveBufferMax))
		c.Sources = append(c.Sources, s.verdictSource())
		a := &s.cfg.Analysis
		c.StuckAfter += 10 * max(a.Delay, a.Max)
	}
	m, err := overload.Start(c)
	if err != nil {
		return err
	}
	s.seen.monitor = m
	s.seen.watched.Store(m)
	s.logPackets(s.cfg.Log.Drops)
	return nil
}

// lookAway ends that, before what is looked at ends.
func (s *service) lookAway() {
	s.logNoMore()
	if s.seen.monitor == nil {
		return
	}
	if err := s.seen.monitor.Stop(); err != nil {
		s.Log.Warn("stop watching over the queues", "error", err)
	}
	s.seen.monitor = nil
}

// logPackets has so many dropped packets a second logged, and those of rules that log.
func (s *service) logPackets(drops int) {
	s.logNoMore()
	if s.engine != nil && (drops > 0 || s.judging.Policy.Needs().Logs) {
		s.seen.drops = logs.StartDrops(s.Log, s.engine.Noted, func() int { return drops })
	}
}

// logNoMore ends that.
func (s *service) logNoMore() {
	if s.seen.drops != nil {
		s.seen.drops.Stop()
		s.seen.drops = nil
	}
}

// verdictSource are the workers of the verdict engine.
func (s *service) verdictSource() overload.Source {
	e := s.engine
	return overload.Source{
		Name: "verdicts", Owns: e.Owns,
		Workers: func(kernel []nfq.KernelQueue) (list []overload.Worker) {
			for i, moving := range e.Moving() {
				w := overload.Worker{Name: e.Name(i), Moving: moving}
				if n := slices.IndexFunc(kernel, func(k nfq.KernelQueue) bool { return k.Queue == e.Queue(i) }); n >= 0 {
					w.Waiting, w.Judged = kernel[n].Queued, kernel[n].IDSequence-kernel[n].Queued
				}
				list = append(list, w)
			}
			return list
		},
		Grow: func(queue uint16) (int, error) { return e.GrowReceiveBuffer(queue, int(s.seen.growTo.Load())) },
	}
}

// gateSource are those of the gate, which holds packets on purpose.
func (s *service) gateSource() overload.Source {
	return overload.Source{
		Name: "gate", Owns: func(queue uint16) bool { g := s.keeper.Gate(); return g != nil && g.Owns(queue) },
		Workers: func([]nfq.KernelQueue) (list []overload.Worker) {
			g := s.keeper.Gate()
			if g == nil {
				return nil
			}
			for i, moving := range g.Moving() {
				list = append(list, overload.Worker{Name: runner.Name(i), Moving: moving})
			}
			return list
		},
	}
}

// counted is for who reads metrics: what was counted by now, or, where the daemon starts,
// stops or is busy, by the last time.
func (s *service) counted() *statistics.Document {
	ctx, cancel := context.WithTimeout(context.Background(), answersWithin)
	defer cancel()
	if s.state.Load() != control.Starting {
		// An error leaves the last one.
		_ = s.do(ctx, func() {
			s.refresh(ctx)
			s.seen.last.Store(s.collect(s.kernelQueues(), processTime()))
		})
	}
	return s.seen.last.Load()
}

// live says why the daemon does not live: /healthz.
func (s *service) live() error {
	if m := s.seen.watched.Load(); m != nil {
		return m.Stuck()
	}
	return nil
}

// ready says what is missing: /readyz.
func (s *service) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), answersWithin)
	defer cancel()
	if state := s.state.Load(); state == control.Starting || state == control.Stopping {
		return fmt.Errorf("the daemon is %v", state)
	}
	var err error
	if asked := s.do(ctx, func() { err = s.missing() }); asked != nil {
		return fmt.Errorf("the daemon is %v: %w", s.state.Load(), asked)
	}
	return err
}

// missing says which queue is not bound, and whether rules are gone.
func (s *service) missing() error {
	var errs []error
	if s.engine != nil {
		kernel := s.kernelQueues()
		for i := range s.cfg.Queues.Count {
			queue := s.cfg.Queues.First + uint16(i)
			if !slices.ContainsFunc(kernel, func(k nfq.KernelQueue) bool { return k.Queue == queue }) {
				errs = append(errs, fmt.Errorf("queue %d is not bound", queue))
			}
		}
	}
	if g := s.keeper.State(); g.Wanted && !g.Present {
		errs = append(errs, fmt.Errorf("the rules of table inet %s are gone", g.Table))
	}
	return errors.Join(errs...)
}

// conclude logs the totals, and writes them where that is configured.
func (s *service) conclude(d *statistics.Document) error {
	attributes := []any{"seconds", math.Round(d.Seconds*10) / 10}
	if t := d.Total; t != nil {
		attributes = append(attributes, "received", t.Received, "accepted", t.Accepted, "dropped", t.Dropped,
			"queue_dropped", t.QueueDropped, "user_dropped", t.UserDropped)
	}
	if d.Gate != nil {
		g := &d.Gate.Total
		attributes = append(attributes, "held", g.Held, "expired", g.Expired, "unguarded", g.Unguarded)
	}
	what := "verdicts end"
	if s.engine == nil {
		what = "guard ends"
	}
	s.Log.Info(what, attributes...)
	return writeStatistics(d, s.cfg.Statistics.File)
}
