package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/coreos/go-systemd/v22/daemon"

	"verdictd/daemon/internal/exposure"
	"verdictd/daemon/internal/guard"
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
	claimed, err := guard.Claim(guardTable)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, claimed.Close()) }()
	k := guard.New(guard.Options{
		Guard: &cfg.Guard, Log: log, Table: guardTable, Alone: true, Queues: queues,
		Install: func() (*ruleset.Installed, error) { return ruleset.InstallGate(gateRules(guardTable, &cfg.Guard)) },
	})
	began := startUsage()
	if err = k.Begin(ctx); err == nil {
		log.Info("guard begins", "version", version, "table", guardTable, "mode", k.Mode())
		notify(log, daemon.SdNotifyReady)
		err = k.Serve(ctx)
	}
	notify(log, daemon.SdNotifyStopping)
	return errors.Join(err, leave(k, cfg, log, began))
}

// leave takes the gate's rules out, lets go what is held as soon as it may, and
// writes the statistics.
func leave(k *guard.Keeper, cfg *config.Config, log *slog.Logger, began usage) error {
	k.End()
	errs := []error{k.Reopen(), k.Detach()}
	cpu := processTime()
	errs = append(errs, k.Stop())
	kernel, err := nfq.ReadKernelQueues()
	if err != nil {
		log.Warn("the kernel's drop counters are unknown", "error", err)
	}
	st := newStatistics(cfg, began)
	st.Guard, st.Gate = string(k.Mode()), k.Statistics(kernel)
	if st.Gate != nil {
		st.CPUPerPacket = began.perPacket(cpu, st.Gate.Total.Received)
	}
	errs = append(errs, k.Free(), k.Remove(), writeStatistics(st, cfg.Statistics.File))
	return errors.Join(errs...)
}
