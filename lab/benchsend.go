package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"verdictd/internal/results"
)

// sendBenchConfig says which senders are compared, and how long.
type sendBenchConfig struct {
	Rounds   int
	Packets  int // that are counted in a turn of a fast sender
	Clashing int // packets in a turn of one that provokes clashes
	// Only are names of senders, all without any. Reference is the C program, Trafgen netsniff-ng's. Require are bounds on
	// ratios, see parseRequirements.
	Only      []string
	Reference string
	Trafgen   string
	Require   string
}

// Validate says all that is wrong.
func (c *sendBenchConfig) Validate() error {
	required, err := parseRequirements(c.Require, senderNames())
	errs := []error{err, knownOnly(c.Only, senderNames())}
	for _, r := range required {
		if provokes(r.over) != provokes(r.under) {
			errs = append(errs, fmt.Errorf("--require %s: one is measured in packets a second, the other in clashes a packet", r.ratio))
		}
	}
	errs = append(errs, within("--rounds", c.Rounds, 1, 1000), within("--packets", c.Packets, 10_000, 100_000_000),
		within("--clashing", c.Clashing, 128, 100_000))
	return errors.Join(errs...)
}

// runSendBench gives every sender its turn in every round, with its progress on w. Version is the lab's.
func runSendBench(ctx context.Context, p programs, version string, c *sendBenchConfig, w io.Writer) (*sendResult, error) {
	required, err := parseRequirements(c.Require, senderNames())
	if err != nil {
		return nil, err
	}
	host, err := results.ReadHost()
	if err != nil {
		return nil, fmt.Errorf("look at this machine: %w", err)
	}
	b := sendBench{stress: p.stress, reference: c.Reference, trafgen: c.Trafgen, packets: c.Packets, clashing: c.Clashing}
	result := &sendResult{benchHead: benchHead[results.Host, sendSettings, sendSample]{
		Schema: benchSchema, Version: version, Host: host, Settings: sendSettings{
			Rounds: c.Rounds, Packets: c.Packets, Clashing: c.Clashing, Size: sendSize, Batch: sendBatch, Flows: sendFlows, Segments: sendSegments,
		},
	}}
	missing := leftOut(senderNames(), c.Only, func(i int) error { return b.canRun(senders[i].name) })
	result.Samples, err = rounds(ctx, c.Rounds, senderNames(), missing, w, func(i, round int, dir string) sendSample {
		s := sendSample{Round: round, Sender: senders[i].name}
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
