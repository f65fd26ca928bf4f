package service

import (
	"context"
	"errors"
	"fmt"

	"verdictd/daemon/internal/exposure"
	"verdictd/daemon/internal/guard"
	"verdictd/daemon/internal/journal"
	"verdictd/daemon/internal/translate"
	"verdictd/internal/config"
	"verdictd/internal/modules"
	"verdictd/internal/vocabulary"
)

// guardTable is the table of `verdictd guard`, which may run beside the service.
const guardTable = "verdictd-guard"

// RunGuard is the life of `verdictd guard`: it guards the queues of other programs
// until the context ends. Without queues it guards all that make clashes possible.
func RunGuard(ctx context.Context, cfg *config.Config, queues []exposure.QueueRange, o Options) (err error) {
	s := newService("guard", cfg, o)
	if cfg.Guard.Mode == vocabulary.GuardOff {
		return errGuardOff
	}
	if err := modules.Load(ctx, modules.PartQueue, modules.PartTables); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	if s.kept, err = journal.Open(s.Log); err != nil {
		return err
	}
	ctx, ignore := heedHandOver(ctx)
	defer ignore()
	claimed, err := guard.Claim(guardTable)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, claimed.Close()) }()
	if err = s.open(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.doors.close()) }()
	options := s.optionsOf(cfg)
	options.Queues, options.Kept, options.Report = queues, s.kept, (*reporter)(s)
	s.keeper = guard.New(options)
	if err = s.keeper.Begin(ctx); err == nil {
		err = s.watch()
	}
	if err == nil {
		err = s.confine()
	}
	s.kept.Drop()
	if err == nil {
		s.auditNow(ctx)
		s.Log.Info("guard begins", "version", s.Version, "table", guardTable, "mode", s.keeper.Mode())
		s.tellFailure()
		err = s.serve(ctx)
	}
	s.ends()
	if leaves(ctx, s.kept, err) {
		return s.handOver(ctx, err)
	}
	return errors.Join(err, s.leave(), s.kept.End())
}

// optionsOf say what is guarded, and with what rules.
func (s *service) optionsOf(cfg *config.Config) guard.Options {
	if s.command == "run" {
		return guardOptions(cfg, s.Log)
	}
	rules := gateRules(guardTable, &cfg.Guard)
	return guard.Options{Guard: &cfg.Guard, Log: s.Log, Table: guardTable, Alone: true, Rules: &rules, Manage: cfg.Rules.Manage}
}

// errGuardOff: a guard alone with nothing to do is a mistake.
var errGuardOff = translate.Problems{{Key: "guard.mode", Text: "is off, so that there is nothing to do: set it to auto, hold or drop", OfFile: true}}

// leave takes the gate's rules out, lets go what is held as soon as it may, and
// writes the statistics.
func (s *service) leave() error {
	k := s.keeper
	k.End()
	errs := []error{k.Reopen(), k.Detach()}
	cpu := processTime()
	errs = append(errs, k.Stop())
	counted := s.collect(s.kernelQueues(), cpu)
	errs = append(errs, k.Free(), k.Remove(), s.conclude(counted))
	return errors.Join(errs...)
}
