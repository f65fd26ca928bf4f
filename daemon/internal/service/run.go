package service

import (
	"context"
	"errors"
	"log/slog"

	"github.com/coreos/go-systemd/v22/daemon"

	"verdictd/daemon/internal/engine"
	"verdictd/daemon/internal/guard"
	"verdictd/daemon/internal/journal"
	"verdictd/internal/config"
	"verdictd/internal/modules"
	"verdictd/internal/nfq"
	"verdictd/internal/vocabulary"
)

// Options are what a life needs besides its configuration.
type Options struct {
	// Version is the program's, as logs, metrics and statistics tell it.
	Version string
	Log     *slog.Logger
	// Confine has the process give up what it does not need any more (privileges.Confine). It cannot be taken back, so
	// that a process that goes on with something else must not.
	Confine bool
	// File is the configuration's, which is read again.
	File string
}

// Run is the life of `verdictd run`: it ends with the context, or when something
// cannot go on. It has the kernel load its modules, starts the queues one after the
// other on this thread, before any worker runs, and only then has the kernel fill them.
func Run(ctx context.Context, cfg *config.Config, o Options) (err error) {
	log := o.Log
	if err = loadModules(ctx, cfg, modules.Load); err != nil {
		return err
	}
	s := &service{cfg: cfg, log: log, version: o.Version}
	if s.kept, err = journal.Open(log); err != nil {
		return err
	}
	ctx, ignore := heedHandOver(ctx)
	defer ignore()
	options := guardOptions(cfg, log)
	options.Judged = func(queue uint16) (uint32, bool) { return s.engine.Answered(queue), s.judged(queue) }
	s.keeper = guard.New(options)
	claimed, err := guard.Claim(options.Table)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, claimed.Close()) }()
	more := retiring(cfg, s.kept)
	if s.engine, err = engine.Open(engineConfig(cfg, s.keeper.Hints(), s.kept, more)); err != nil {
		return err
	}
	s.engine.Start()
	if err := s.keeper.Begin(ctx); err != nil {
		return s.finish(ctx, err)
	}
	if err := s.retire(more); err != nil {
		return s.finish(ctx, err)
	}
	s.kept.Drop()
	s.announce()
	stopMetrics, err := s.exportAudit(ctx)
	if err != nil {
		return s.finish(ctx, err)
	}
	defer stopMetrics()
	s.usage = startUsage()
	if err := confine(cfg, o); err != nil {
		return s.finish(ctx, err)
	}
	tellFailure(log, FailurePlan(cfg))
	notify(log, daemon.SdNotifyReady)
	err = s.serve(ctx)
	notify(log, daemon.SdNotifyStopping)
	return s.finish(ctx, err)
}

// service is what has to be stopped.
type service struct {
	cfg     *config.Config
	log     *slog.Logger
	version string
	engine  *engine.Engine
	keeper  *guard.Keeper
	kept    *journal.Kept
	usage   usage
}

// serve follows the rules until the context ends or something cannot go on.
func (s *service) serve(ctx context.Context) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	go func() {
		select {
		case <-ctx.Done():
		case err := <-s.engine.Failed():
			s.log.Error("a queue cannot go on", "error", err)
			end(err)
		}
	}()
	if err := s.keeper.Serve(ctx); err != nil {
		return err
	}
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, errHandOver) {
		return err
	}
	return nil
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
	kernel, err := nfq.ReadKernelQueues()
	if err != nil {
		s.log.Warn("the kernel's drop counters are unknown", "error", err)
	}
	errs = append(errs, s.engine.Stop())
	counted := s.collect(kernel)
	errs = append(errs, s.keeper.Free(), s.engine.Close())
	errs = append(errs, s.keeper.Remove())
	return errors.Join(append(errs, writeStatistics(counted, s.cfg.Statistics.File))...)
}

// idle reports whether nothing waits for a verdict.
func (s *service) idle() bool { return guard.Idle(s.judged) }

// judged tells the queues that the daemon judges.
func (s *service) judged(queue uint16) bool { return s.engine.Owns(queue) }

// announce logs what an operator should know at the start.
func (s *service) announce() {
	attributes := []any{
		"version", s.version, "backend", s.cfg.Backend, "queues", s.cfg.Queues.Count, "first", s.cfg.Queues.First,
		"placement", s.cfg.Rules.Placement, "guard", s.keeper.Mode(),
	}
	if kind := s.keeper.Kind(); kind != "" {
		attributes = append(attributes, "statement", kind)
	}
	s.log.Info("verdicts begin", attributes...)
	if want, got := s.cfg.Queues.ReceiveBuffer, s.engine.ReceiveBuffer(); got < want {
		s.log.Warn("the receive buffer is smaller than configured: bursts may be lost (user_dropped); raise net.core.rmem_max",
			"configured", want, "granted", got)
	}
	if s.cfg.Backend == vocabulary.BackendGoNFQueue && len(s.cfg.Queues.Pin) > 0 {
		s.log.Warn("the backend gonfqueue cannot be pinned: the library receives on any thread", "pin", s.cfg.Queues.Pin)
	}
}

// notify tells systemd, or whoever set NOTIFY_SOCKET.
func notify(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("notify the service manager", "error", err)
	}
}
