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
	"verdictd/internal/userns"
)

// benchQueueCmd is `lab bench queue`, and `lab bench` alone.
type benchQueueCmd struct {
	Rounds    int      `help:"Rounds; in each one, every daemon has its turn." default:"5"`
	Packets   int      `help:"Packets that are counted in a turn." default:"200000"`
	Window    int      `help:"Packets under way at most." default:"256"`
	Only      []string `help:"Daemons to measure, by the names in the table. Default: all." placeholder:"NAME"`
	Reference string   `help:"The C program on libnetfilter_queue to compare with; lab/reference has its source." type:"path" placeholder:"PATH"`
	Require   string   `help:"Fail unless these ratios of medians hold, such as 'mmsg/c<=0.6,mmsg/gonfqueue<=0.15'." placeholder:"A/B<=X,..."`
	Bin       string   `help:"Where verdictd, stress and conntrackwatch are. Default: beside this program." type:"path" placeholder:"DIR"`
	JSON      string   `name:"json" help:"Write the result as JSON to FILE; - writes it to stdout, and the table to stderr." placeholder:"FILE"`

	required []requirement
}

// errNotChosen is why a daemon is not measured.
var errNotChosen = errors.New("not chosen by --only")

// Validate is called by kong.
func (c *benchQueueCmd) Validate() error {
	var err error
	c.required, err = parseRequirements(c.Require, variantNames())
	errs := []error{err}
	for _, name := range c.Only {
		if !slices.Contains(variantNames(), name) {
			errs = append(errs, fmt.Errorf("--only %s: there are %s", name, strings.Join(variantNames(), ", ")))
		}
	}
	for _, bound := range []struct {
		flag         string
		n, low, high int
	}{
		{"--rounds", c.Rounds, 1, 1000},
		{"--packets", c.Packets, 1000, 100_000_000},
		{"--window", c.Window, 1, 4096},
	} {
		if bound.n < bound.low || bound.n > bound.high {
			errs = append(errs, fmt.Errorf("%s %d is not within %d to %d", bound.flag, bound.n, bound.low, bound.high))
		}
	}
	return errors.Join(errs...)
}

// Run is called by kong.
func (c *benchQueueCmd) Run(ctx context.Context, std streams) error {
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
	host, err := readHost(ctx, p)
	if err != nil {
		return fmt.Errorf("look at this machine: %w", err)
	}
	cpus, err := allowedCPUs()
	if err != nil {
		return err
	}
	b := bench{
		programs: p, reference: c.Reference, window: c.Window, packets: c.Packets,
		loadCPU: cpus[0], daemonCPU: cpus[min(1, len(cpus)-1)],
	}
	result := &benchResult{Schema: benchSchema, Version: version, Host: host, Settings: benchSettings{
		Rounds: c.Rounds, Packets: c.Packets, Window: c.Window, Flows: benchFlows, Payload: benchPayload,
		LoadCPU: b.loadCPU, DaemonCPU: b.daemonCPU,
	}}
	missing := map[string]error{}
	for i := range variants {
		v := &variants[i]
		if len(c.Only) > 0 && !slices.Contains(c.Only, v.name) {
			missing[v.name] = errNotChosen
		} else if err := b.canRun(v); err != nil {
			missing[v.name] = err
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

// rounds gives every variant its turn, and that again and again: what slows the machine down meanwhile slows all of
// them.
func (b *bench) rounds(ctx context.Context, rounds int, missing map[string]error, progressTo io.Writer) (samples []sample, err error) {
	dir, err := os.MkdirTemp("", "lab-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the daemons' files (set TMPDIR to where that is allowed): %w", err)
	}
	defer func() {
		if e := os.RemoveAll(dir); e != nil {
			err = errors.Join(err, fmt.Errorf("remove the daemons' files: %w", e))
		}
	}()
	samples = []sample{}
	for round := 1; round <= rounds; round++ {
		for i := range variants {
			v := &variants[i]
			if missing[v.name] != nil {
				continue
			}
			s := b.measure(ctx, v, filepath.Join(dir, fmt.Sprintf("%d-%d", round, i)))
			if ctx.Err() != nil {
				return samples, nil // the interruption, and not the daemon, is what failed
			}
			s.Round = round
			samples = append(samples, s)
			if s.Invalid != "" {
				fmt.Fprintf(progressTo, "[round %d/%d] %s: does not count: %s\n", round, rounds, v.name, s.Invalid)
				continue
			}
			fmt.Fprintf(progressTo, "[round %d/%d] %s: %.2f us\n", round, rounds, v.name, s.CPUPerPacket)
		}
	}
	return samples, nil
}
