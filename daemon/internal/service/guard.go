package service

import (
	"context"
	"errors"
	"fmt"

	"github.com/coreos/go-systemd/v22/daemon"

	"verdictd/daemon/internal/exposure"
	"verdictd/daemon/internal/guard"
	"verdictd/internal/config"
	"verdictd/internal/modules"
	"verdictd/internal/nfq"
	"verdictd/internal/vocabulary"
)

// guardTable is the table of `verdictd guard`, which may run beside the service.
const guardTable = "verdictd-guard"

// RunGuard is the life of `verdictd guard`: it guards the queues of other programs
// until the context ends. Without queues it guards all that make clashes possible.
func RunGuard(ctx context.Context, cfg *config.Config, queues []exposure.QueueRange, o Options) (err error) {
	log := o.Log
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
	rules := gateRules(guardTable, &cfg.Guard)
	k := guard.New(guard.Options{
		Guard: &cfg.Guard, Log: log, Table: guardTable, Alone: true, Queues: queues, Rules: &rules, Manage: cfg.Rules.Manage,
	})
	began := startUsage()
	if err = k.Begin(ctx); err == nil {
		err = confine(cfg, o)
	}
	if err == nil {
		log.Info("guard begins", "version", o.Version, "table", guardTable, "mode", k.Mode())
		tellFailure(log, guardFailurePlan(cfg))
		notify(log, daemon.SdNotifyReady)
		err = k.Serve(ctx)
	}
	notify(log, daemon.SdNotifyStopping)
	return errors.Join(err, leave(k, cfg, o, began))
}

// leave takes the gate's rules out, lets go what is held as soon as it may, and
// writes the statistics.
func leave(k *guard.Keeper, cfg *config.Config, o Options, began usage) error {
	k.End()
	errs := []error{k.Reopen(), k.Detach()}
	cpu := processTime()
	errs = append(errs, k.Stop())
	kernel, err := nfq.ReadKernelQueues()
	if err != nil {
		o.Log.Warn("the kernel's drop counters are unknown", "error", err)
	}
	st := newStatistics(cfg, began, o.Version)
	st.Guard, st.Gate = string(k.Mode()), k.Statistics(kernel)
	if st.Gate != nil {
		st.CPUPerPacket = began.perPacket(cpu, st.Gate.Total.Received)
	}
	errs = append(errs, k.Free(), k.Remove(), writeStatistics(st, cfg.Statistics.File))
	return errors.Join(errs...)
}
