package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"verdictd/daemon/internal/exposure"
	"verdictd/internal/config"
	"verdictd/internal/modules"
	"verdictd/internal/nfq"
	"verdictd/internal/ruleset"
	"verdictd/internal/vocabulary"
)

// guardTable is the table of `verdictd guard`, which may run beside the service.
const guardTable = "verdictd-guard"

type guardCommand struct {
	Config string       `placeholder:"FILE" type:"path" help:"Configuration (YAML), of which the section guard counts, and statistics.file. Without it: the defaults."`
	Queue  []queueRange `placeholder:"N[-M]" help:"Guard these queues only. Without it: all that make clashes possible."`
}

// Run is the gate alone.
func (c *guardCommand) Run(ctx context.Context) error {
	cfg := config.Default()
	if c.Config != "" {
		var err error
		if cfg, err = (&configFlag{Config: c.Config}).load(); err != nil {
			return err
		}
	}
	return runGuard(ctx, cfg, ranges(c.Queue), slog.New(slog.NewTextHandler(os.Stderr, nil)))
}

// runGuard guards the queues of other programs until the context ends.
func runGuard(ctx context.Context, cfg *config.Config, queues []exposure.QueueRange, log *slog.Logger) (err error) {
	if cfg.Guard.Mode == vocabulary.GuardOff {
		return errors.New("guard.mode is off, so that there is nothing to do: set it to auto, hold or drop")
	}
	if err := modules.Load(ctx, modules.PartQueue, modules.PartTables); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	claimed, err := claim(guardTable)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, claimed.Close()) }()
	k := &keeper{
		guard: &cfg.Guard, log: log, table: guardTable,
		judged: func(uint16) (uint32, bool) { return 0, false }, queues: queues, alone: true,
		install: func() (*ruleset.Installed, error) { return ruleset.InstallGate(gateRules(guardTable, &cfg.Guard)) },
	}
	began := startUsage()
	if err = k.begin(ctx); err == nil {
		log.Info("guard begins", "version", version, "table", guardTable, "mode", k.mode(&k.now))
		notify(log, daemon.SdNotifyReady)
		err = k.serve(ctx)
	}
	notify(log, daemon.SdNotifyStopping)
	return errors.Join(err, k.leave(cfg, began))
}

// serve follows the rules until the context ends or the gate cannot go on.
func (k *keeper) serve(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-k.failed():
			return err
		case <-k.changed():
			if k.again == nil {
				k.again = time.After(rulesPause)
			}
		case <-k.ended():
			if err := k.changes.Err(); err != nil {
				return fmt.Errorf("the rules are watched no more: %w", err)
			}
			return nil // the context's end is its own, too
		case <-k.again:
			k.again = nil
			if err := k.follow(ctx); err != nil {
				k.log.Error("the guard cannot follow the rules: it stays as it is", "error", err)
			}
		}
	}
}

// leave takes the gate's rules out, lets go what is held as soon as it may, and
// writes the statistics.
func (k *keeper) leave(cfg *config.Config, began usage) error {
	k.end()
	errs := []error{k.gone(k.reopen()), k.gone(k.detach())}
	time.Sleep(settle)
	cpu := processTime()
	errs = append(errs, k.stop())
	kernel, err := nfq.ReadKernelQueues()
	if err != nil {
		k.log.Warn("the kernel's drop counters are unknown", "error", err)
	}
	st := newStatistics(cfg, began)
	st.Guard, st.Gate = string(k.mode(&k.now)), k.statistics(kernel)
	if st.Gate != nil {
		st.CPUPerPacket = began.perPacket(cpu, st.Gate.Total.Received)
	}
	errs = append(errs, k.free(), k.gone(k.remove()), writeStatistics(st, cfg.Statistics.File))
	return errors.Join(errs...)
}
