package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"verdictd/internal/cli"
	"verdictd/internal/provenance"
	"verdictd/internal/userns"
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
	errs := []error{err}
	for _, name := range c.Only {
		if !slices.Contains(senderNames(), name) {
			errs = append(errs, fmt.Errorf("--only %s: there are %s", name, strings.Join(senderNames(), ", ")))
		}
	}
	for _, r := range c.required {
		if provokes(r.over) != provokes(r.under) {
			errs = append(errs, fmt.Errorf("--require %s: one is measured in packets a second, the other in clashes a packet", r.ratio))
		}
	}
	for _, bound := range []struct {
		flag         string
		n, low, high int
	}{
		{"--rounds", c.Rounds, 1, 1000},
		{"--packets", c.Packets, 10_000, 100_000_000},
		{"--clashing", c.Clashing, 128, 100_000},
	} {
		if bound.n < bound.low || bound.n > bound.high {
			errs = append(errs, fmt.Errorf("%s %d is not within %d to %d", bound.flag, bound.n, bound.low, bound.high))
		}
	}
	return errors.Join(errs...)
}

// Run is called by kong.
func (c *benchSendCmd) Run(ctx context.Context, std streams) error {
	if err := canWrite(c.JSON); err != nil {
		return err
	}
	if outside, err := userns.Ensure(ctx, "lab", std.out, std.err); outside {
		return err
	}
	p, err := findPrograms(c.Bin)
	if err != nil {
		return err
	}
	host, err := provenance.ReadHost()
	if err != nil {
		return fmt.Errorf("look at this machine: %w", err)
	}
	b := sendBench{stress: p.stress, reference: c.Reference, trafgen: c.Trafgen, packets: c.Packets, clashing: c.Clashing}
	result := &sendResult{Schema: benchSchema, Version: version, Host: host, Settings: sendSettings{
		Rounds: c.Rounds, Packets: c.Packets, Clashing: c.Clashing, Size: sendSize, Batch: sendBatch, Flows: sendFlows, Segments: sendSegments,
	}}
	missing := map[string]error{}
	for _, s := range senders {
		if len(c.Only) > 0 && !slices.Contains(c.Only, s.name) {
			missing[s.name] = errNotChosen
		} else if err := b.canRun(s.name); err != nil {
			missing[s.name] = err
		}
	}
	if result.Samples, err = b.rounds(ctx, c.Rounds, missing, std.err); err != nil {
		return err
	}
	result.Interrupted = ctx.Err() != nil
	result.judge(c.required, missing)
	if err := std.write(c.JSON, result.writeText, result.document); err != nil {
		return err
	}
	if !result.Verdict.OK {
		return cli.ErrReported
	}
	return nil
}

// rounds gives every sender its turn, and that again and again: what slows the machine down meanwhile slows all of them.
func (b *sendBench) rounds(ctx context.Context, rounds int, missing map[string]error, progressTo io.Writer) (samples []sendSample, err error) {
	dir, err := os.MkdirTemp("", "lab-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the senders' files (set TMPDIR to where that is allowed): %w", err)
	}
	defer func() {
		if e := os.RemoveAll(dir); e != nil {
			err = errors.Join(err, fmt.Errorf("remove the senders' files: %w", e))
		}
	}()
	samples = []sendSample{}
	for round := 1; round <= rounds; round++ {
		for i, sender := range senders {
			if missing[sender.name] != nil {
				continue
			}
			s := sendSample{Round: round, Sender: sender.name}
			if err := b.measure(ctx, sender, filepath.Join(dir, fmt.Sprintf("%d-%d", round, i)), &s); err != nil {
				s.Invalid = err.Error()
			}
			if ctx.Err() != nil {
				return samples, nil
			}
			samples = append(samples, s)
			fmt.Fprintf(progressTo, "[round %d/%d] %s\n", round, rounds, s.line())
		}
	}
	return samples, nil
}
