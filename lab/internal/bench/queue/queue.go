package queue

import (
	"context"
	"errors"
	"io"

	"verdictd/internal/vocabulary"
	"verdictd/lab/internal/bench"
	"verdictd/lab/internal/testbed"
)

// Config says which programs are compared, and how long.
type Config struct {
	Rounds  int
	Packets int // that are counted in a turn of settled flows
	Fresh   int // the same in a turn of new flows
	Window  int // packets under way at most
	Payload int // bytes of each packet's payload
	Copy    int // bytes of each packet that programs get; 0: as each does by itself
	// Cases are the groups of variants that are measured, the usual one where none is named.
	Cases []string
	// Only are names of variants, all without any. Reference is the C program. Require are bounds on ratios, see
	// bench.ParseRequirements.
	Only      []string
	Reference string
	Require   string
}

// Validate says all that is wrong.
func (c *Config) Validate() error {
	if err := knownCases(c.Cases); err != nil {
		return err
	}
	list := chosen(c.Cases)
	_, err := bench.ParseRequirements(c.Require, figureNames(list))
	return errors.Join(err, bench.KnownOnly(c.Only, names(list)),
		testbed.Within("--copy", c.Copy, 0, vocabulary.MaxCopyRange),
		testbed.Within("--rounds", c.Rounds, 1, 1000), testbed.Within("--packets", c.Packets, 1000, 100_000_000),
		testbed.Within("--fresh", c.Fresh, 1000, 4_000_000), testbed.Within("--window", c.Window, 1, 65536),
		testbed.Within("--payload", c.Payload, 1, 8192))
}

// Run gives every variant its turn in every round, with its progress on w.
func Run(ctx context.Context, t *testbed.Testbed, c *Config, w io.Writer) (*Result, error) {
	list := chosen(c.Cases)
	required, err := bench.ParseRequirements(c.Require, figureNames(list))
	if err != nil {
		return nil, err
	}
	b := comparison{
		Programs: t.Programs, reference: c.Reference, window: c.Window, payload: c.Payload, packets: c.Packets,
		fresh: c.Fresh, copied: c.Copy, cpus: t.CPUs, variants: list,
	}
	result := &Result{Head: bench.NewHead[sample](t.Version, t.Host, settings{
		Rounds: c.Rounds, Packets: c.Packets, Fresh: c.Fresh, Window: c.Window, Flows: settledFlows,
		Payload: c.Payload, Copy: c.Copy, LoadCPU: b.loadCPU(), DaemonCPU: b.daemonCPU(),
	})}
	missing := bench.LeftOut(names(list), c.Only, func(i int) error { return b.canRun(&list[i]) })
	result.Samples, err = b.rounds(ctx, c.Rounds, missing, w)
	if err != nil {
		return nil, err
	}
	result.Interrupted = ctx.Err() != nil
	result.judge(list, required, missing)
	return result, nil
}
