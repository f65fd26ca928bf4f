package service

import (
	"context"
	"errors"

	"verdictd/daemon/internal/devices"
	"verdictd/daemon/internal/engine"
	"verdictd/daemon/internal/guard"
	"verdictd/daemon/internal/journal"
	"verdictd/daemon/internal/sets/live"
	"verdictd/internal/config"
	"verdictd/internal/modules"
	"verdictd/internal/vocabulary"
)

// Run is the life of `verdictd run`: it ends with the context, or when something
// cannot go on.
//
//  1. The kernel loads its modules, before any socket is opened for work.
//  2. All that the configuration names is tried, before anything can be lost: files,
//     addresses, CPUs, and what rules look at. Sets are read.
//  3. The queues are bound one after the other on this thread, before any worker runs, or
//     taken over with what is in them (kept.go).
//  4. The workers judge, and only then has the kernel fill the queues: the rules, and
//     with need the gate.
//  5. The audit; READY=1. From then on rules are followed and reloads done (reload.go).
func Run(ctx context.Context, cfg *config.Config, o Options) (err error) {
	s := newService("run", cfg, o)
	if err = loadModules(ctx, cfg, modules.Load); err != nil {
		return err
	}
	if s.kept, err = journal.Open(s.Log); err != nil {
		return err
	}
	ctx, ignore := heedHandOver(ctx)
	defer ignore()
	if err = s.open(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.doors.close(), s.closeSamples()) }()
	options := s.optionsOf(cfg)
	options.Judged = func(queue uint16) (uint32, bool) { return s.engine.Answered(queue), s.judged(queue) }
	options.Kept = s.kept
	options.Lost = func() uint64 { return s.engine.Results().Total.VerdictErrors }
	options.Report = (*reporter)(s)
	s.keeper = guard.New(options)
	claimed, err := guard.Claim(options.Table)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, claimed.Close()) }()
	more := retiring(cfg, s.kept)
	if s.devices, err = devices.Open(s.Log); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.devices.Close()) }()
	s.devices.Tell(s.judging.Policy)
	if s.engine, err = engine.Open(s.engineConfig(cfg, more)); err != nil {
		return err
	}
	s.watcher = live.Watch(s.Log, s.judging.sets)
	defer s.watcher.Stop()
	s.engine.Start()
	if err := s.fill(ctx, cfg, more); err != nil {
		return s.finish(ctx, err)
	}
	s.kept.Drop()
	s.announce()
	s.export(ctx)
	s.usage = startUsage()
	if err := s.watch(); err != nil {
		return s.finish(ctx, err)
	}
	if err := s.confine(); err != nil {
		return s.finish(ctx, err)
	}
	s.tellFailure()
	return s.finish(ctx, s.serve(ctx))
}

// stop leaves no packet without a verdict and lets none overtake another, as long
// as nothing fails:
//
//  1. With a gate: all flows come to the gate, which takes none in, so that new
//     packets wait in the kernel behind those that are on their way.
//  2. The workers judge what is queued.
//  3. The verdict rules are taken out. The base chains stay, as removing one drops
//     every packet that waits in the namespace's queues.
//  4. The gate opens: what waited goes on. Its rules are taken out, and it ends
//     when it holds nothing.
//  5. The kernel's drop counters are read, which go with the queues.
//  6. The queues are unbound, and the rest of the table goes.
//
// Where the rules are the operator's own, packets go on arriving: those queued
// while the queues are unbound are dropped by the kernel; later ones pass where
// the rule has `bypass`.
func (s *service) stop() error {
	s.keeper.End()
	s.keeper.Hush(s.idle)
	errs := []error{s.keeper.DetachVerdicts(), s.keeper.Reopen(), s.keeper.Detach(), s.keeper.Stop()}
	kernel := s.kernelQueues()
	errs = append(errs, s.engine.Stop())
	counted := s.collect(kernel, processTime())
	errs = append(errs, s.keeper.Free(), s.engine.Close())
	errs = append(errs, s.keeper.Remove())
	return errors.Join(append(errs, s.conclude(counted))...)
}

// idle reports whether nothing waits for a verdict.
func (s *service) idle() bool { return guard.Idle(s.judged) }

// judged tells the queues that the daemon judges.
func (s *service) judged(queue uint16) bool { return s.engine.Owns(queue) }

// announce logs what an operator should know at the start.
func (s *service) announce() {
	attributes := []any{
		"version", s.Version, "backend", s.cfg.Backend, "queues", s.cfg.Queues.Count, "first", s.cfg.Queues.First,
		"placement", s.cfg.Rules.Placement, "guard", s.keeper.Mode(), "copied", s.judging.copied.Bytes,
	}
	if kind := s.keeper.Kind(); kind != "" {
		attributes = append(attributes, "statement", kind)
	}
	s.Log.Info("verdicts begin", attributes...)
	if want, got := s.cfg.Queues.ReceiveBuffer, s.engine.ReceiveBuffer(); got < want {
		s.Log.Warn("the receive buffer is smaller than configured: bursts may be lost (user_dropped); raise net.core.rmem_max",
			"configured", want, "granted", got)
	}
	if s.cfg.Backend == vocabulary.BackendGoNFQueue && len(s.cfg.Queues.Pin) > 0 {
		s.Log.Warn("the backend gonfqueue cannot be pinned: the library receives on any thread", "pin", s.cfg.Queues.Pin)
	}
}
