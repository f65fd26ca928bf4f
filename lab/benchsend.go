package main

import (
	"context"
	"errors"
	"fmt"

	"verdictd/internal/results"
)

// benchSendCmd is `lab bench send`.
type benchSendCmd struct {
	Rounds    int      `help:"Rounds; in each one, every sender has its turn." default:"5"`
	Packets   int      `help:"Packets that are counted in a turn of a fast sender." default:"500000"`
	Clashing  int      `help:"Packets in a turn of one that provokes clashes." default:"6400"`
	Only      []string `help:"Senders to measure, by the names in the table. Default: all." placeholder:"NAME"`
	Reference string   `help:"The C program to compare with; lab/reference/send_reference.c is its source." type:"path" placeholder:"PATH"`
	Trafgen   string   `help:"trafgen (netsniff-ng)." default:"trafgen" placeholder:"PATH"`
	Require   string   `help:"Fail unless these ratios hold, such as 'flood/c>=0.9,flood+gso/trafgen>=0.9,clash/udpclash>=1'. One whose sender is not installed fails." placeholder:"A/B>=X,..."`
	Bin       string   `help:"Where verdictd, stress and conntrackwatch are. Default: beside this program." type:"path" placeholder:"DIR"`
	JSON      string   `name:"json" help:"Write the result as JSON to FILE; - writes it to stdout, and the table to stderr." placeholder:"FILE"`

	required []requirement
}

// Validate is called by kong.
func (c *benchSendCmd) Validate() error {
	var err error
	c.required, err = parseRequirements(c.Require, senderNames())
	errs := []error{err, knownOnly(c.Only, senderNames())}
	for _, r := range c.required {
		if provokes(r.over) != provokes(r.under) {
			errs = append(errs, fmt.Errorf("--require %s: one is measured in packets a second, the other in clashes a packet", r.ratio))
		}
	}
	errs = append(errs, within("--rounds", c.Rounds, 1, 1000), within("--packets", c.Packets, 10_000, 100_000_000),
		within("--clashing", c.Clashing, 128, 100_000))
	return errors.Join(errs...)
}

// Run is called by kong.
func (c *benchSendCmd) Run(ctx context.Context, std streams) error {
	p, outside, err := std.begin(ctx, c.Bin, c.JSON)
	if outside || err != nil {
		return err
	}
	host, err := results.ReadHost()
	if err != nil {
		return fmt.Errorf("look at this machine: %w", err)
	}
	b := sendBench{stress: p.stress, reference: c.Reference, trafgen: c.Trafgen, packets: c.Packets, clashing: c.Clashing}
	result := &sendResult{benchHead: benchHead[results.Host, sendSettings, sendSample]{
		Schema: benchSchema, Version: version, Host: host, Settings: sendSettings{
			Rounds: c.Rounds, Packets: c.Packets, Clashing: c.Clashing, Size: sendSize, Batch: sendBatch, Flows: sendFlows, Segments: sendSegments,
		},
	}}
	missing := leftOut(senderNames(), c.Only, func(i int) error { return b.canRun(senders[i].name) })
	result.Samples, err = rounds(ctx, c.Rounds, senderNames(), missing, std.err, func(i, round int, dir string) sendSample {
		s := sendSample{Round: round, Sender: senders[i].name}
		if err := b.measure(ctx, senders[i], dir, &s); err != nil {
			s.Invalid = err.Error()
		}
		return s
	})
	if err != nil {
		return err
	}
	result.Interrupted = ctx.Err() != nil
	result.judge(c.required, missing)
	return std.conclude(c.JSON, result, result.Verdict.OK)
}
