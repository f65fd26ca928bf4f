package send

import (
	"context"
	"errors"
	"fmt"
	"io"

	"verdictd/internal/results"
	"verdictd/lab/internal/bench"
	"verdictd/lab/internal/testbed"
)

// Config says which senders are compared, and how long.
type Config struct {
	Rounds   int
	Packets  int // that are counted in a turn of a fast sender
	Clashing int // packets in a turn of one that provokes clashes
	// Only are names of senders, all without any. Reference is the C program, Trafgen netsniff-ng's. Require are
	// bounds on ratios, see bench.ParseRequirements.
	Only      []string
	Reference string
	Trafgen   string
	Require   string
}

// Validate says all that is wrong.
func (c *Config) Validate() error {
	required, err := bench.ParseRequirements(c.Require, Names())
	errs := []error{err, bench.KnownOnly(c.Only, Names())}
	for _, r := range required {
		if provokes(r.Over) != provokes(r.Under) {
			errs = append(errs, fmt.Errorf("--require %s: one is measured in packets a second, the other in clashes "+
				"a packet", r.Ratio))
		}
	}
	errs = append(errs, testbed.Within("--rounds", c.Rounds, 1, 1000),
		testbed.Within("--packets", c.Packets, 10_000, 100_000_000),
		testbed.Within("--clashing", c.Clashing, 128, 100_000))
	return errors.Join(errs...)
}

// Run gives every sender its turn in every round, with its progress on w. Version is the lab's.
func Run(ctx context.Context, p testbed.Programs, version string, c *Config, w io.Writer) (*Result, error) {
	required, err := bench.ParseRequirements(c.Require, Names())
	if err != nil {
		return nil, err
	}
	host, err := results.ReadHost()
	if err != nil {
		return nil, fmt.Errorf("look at this machine: %w", err)
	}
	b := comparison{stress: p.Stress, reference: c.Reference, trafgen: c.Trafgen, packets: c.Packets,
		clashing: c.Clashing}
	result := &Result{Head: bench.NewHead[sample](version, host, settings{
		Rounds: c.Rounds, Packets: c.Packets, Clashing: c.Clashing, Size: sendSize, Batch: sendBatch,
		Flows: sendFlows, Segments: sendSegments,
	})}
	missing := bench.LeftOut(Names(), c.Only, func(i int) error { return b.canRun(senders[i].name) })
	result.Samples, err = bench.Rounds(ctx, 1, c.Rounds, Names(), missing, w, func(i, round int, dir string) sample {
		s := sample{Round: round, Sender: senders[i].name}
		if err := b.measure(ctx, senders[i], dir, &s); err != nil {
			s.Invalid = err.Error()
		}
		return s
	})
	if err != nil {
		return nil, err
	}
	result.Interrupted = ctx.Err() != nil
	result.judge(required, missing)
	return result, nil
}
