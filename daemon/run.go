package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"verdictd/internal/config"
	"verdictd/internal/engine"
	"verdictd/internal/kernel"
	"verdictd/internal/nfq"
	"verdictd/internal/ruleset"
)

type runCommand struct{ configFlag }

// Run is the service.
func (c *runCommand) Run(ctx context.Context) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	return run(ctx, cfg, slog.New(slog.NewTextHandler(os.Stderr, nil)))
}

// settle is longer than a packet takes from a rule that was just taken out to
// its queue.
const settle = 20 * time.Millisecond

// run has the kernel load its modules, starts the queues one after the other on
// this thread, before any worker runs, and only then has the kernel fill them.
func run(ctx context.Context, cfg *config.Config, log *slog.Logger) (err error) {
	p, err := cfg.Policy.Compile()
	if err != nil {
		return fmt.Errorf("compile policy: %w", err)
	}
	if err := loadModules(ctx, cfg, kernel.Load); err != nil {
		return err
	}
	guard := planGuard(ctx, cfg)
	e, err := engine.Open(engineConfig(cfg, p, &guard))
	if err != nil {
		return explainEntryQueue(err, &guard)
	}
	e.Start()
	s := service{cfg: cfg, log: log, engine: e, guard: &guard}
	if cfg.Rules.Install {
		if s.rules, err = ruleset.Install(rulesConfig(cfg, guard.entries)); err != nil {
			return errors.Join(err, e.Stop(), e.Close())
		}
	}
	guard.checkOrder(cfg)
	s.announce()
	stopMetrics, err := s.exportAudit(ctx)
	if err != nil {
		return errors.Join(err, s.stop())
	}
	defer stopMetrics()
	s.usage = startUsage()
	notify(log, daemon.SdNotifyReady)

	select {
	case <-ctx.Done():
	case err = <-e.Failed():
		log.Error("a queue cannot go on", "error", err)
	}
	notify(log, daemon.SdNotifyStopping)
	return errors.Join(err, s.stop())
}

// service is what has to be stopped.
type service struct {
	cfg    *config.Config
	log    *slog.Logger
	engine *engine.Engine
	rules  *ruleset.Installed // nil: the operator's own
	guard  *guarding
	usage  usage
}

// stop leaves no packet without a verdict, as long as nothing fails:
//
//  1. The queue rules are taken out; packets pass. The base chains stay, as
//     removing one drops every packet that waits in the namespace's queues.
//  2. The kernel's drop counters are read, which go with the queues.
//  3. The workers judge what is queued, and end.
//  4. The queues are unbound.
//  5. The rest of the table goes.
//
// Where the rules are the operator's own, packets go on arriving: those queued
// between 3 and 4 are dropped by the kernel; later ones pass where the rule has
// `bypass`.
func (s *service) stop() error {
	var errs []error
	if s.rules != nil {
		errs = append(errs, s.gone(s.rules.Detach()))
		time.Sleep(settle)
	}
	kernel, err := nfq.ReadKernelQueues()
	if err != nil {
		s.log.Warn("the kernel's drop counters are unknown", "error", err)
	}
	errs = append(errs, s.engine.Stop())
	statistics := s.collect(kernel)
	errs = append(errs, s.engine.Close())
	if s.rules != nil {
		errs = append(errs, s.gone(s.rules.Remove()))
	}
	return errors.Join(append(errs, statistics.write(s.cfg.Statistics.File))...)
}

// gone lets pass that somebody else has removed the table: it was to go anyway.
func (s *service) gone(err error) error {
	if errors.Is(err, ruleset.ErrNotFound) {
		s.log.Warn("somebody has removed the rules meanwhile", "error", err)
		return nil
	}
	return err
}

// announce logs what an operator should know at the start.
func (s *service) announce() {
	attributes := []any{
		"version", version, "backend", s.cfg.Backend, "queues", s.cfg.Queues.Count, "first", s.cfg.Queues.First,
		"placement", s.cfg.Rules.Placement, "guard", s.guard.mode, "guard_because", s.guard.why,
		"entry_queues", s.guard.entries,
		"flow_table_bytes", s.engine.FlowTableBytes(),
	}
	if s.rules != nil {
		attributes = append(attributes, "statement", s.rules.Kind())
	}
	s.log.Info("verdicts begin", attributes...)
	if wish, got := s.cfg.Queues.ReceiveBuffer, s.engine.ReceiveBuffer(); got < wish {
		s.log.Warn("the receive buffer is smaller than wished: bursts may be lost (user_dropped); raise net.core.rmem_max",
			"wished", wish, "granted", got)
	}
	if s.cfg.Backend == config.BackendGoNFQueue && len(s.cfg.Queues.Pin) > 0 {
		s.log.Warn("the backend gonfqueue cannot be pinned: the library receives on any thread", "pin", s.cfg.Queues.Pin)
	}
	for _, w := range s.guard.warnings {
		s.log.Warn(w)
	}
}

// notify tells systemd, or whoever set NOTIFY_SOCKET.
func notify(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("notify the service manager", "error", err)
	}
}
