package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"verdictd/internal/cli"
	"verdictd/internal/report"
)

// kernelCompareCmd is `lab kernel compare`.
type kernelCompareCmd struct {
	Before      string        `arg:"" help:"A kernel as for lab kernel run --image: a file, debian[:SUITE], or the name of one that was built."`
	After       string        `arg:"" help:"The one to compare with it."`
	Scenario    []string      `help:"What to run; may be repeated. queue: verdict3 without a guard; guard: the same with the guard; pre-conntrack; events-off: queue with nf_conntrack_events=0. Default: queue and guard." enum:"queue,guard,pre-conntrack,events-off" placeholder:"NAME"`
	Repeat      int           `help:"Samples of each scenario on each kernel, in turns. Fewer than 4 tell no change from chance." default:"5"`
	Flows       int           `help:"Flows in each machine." default:"500"`
	Burst       int           `help:"Packets of a flow, sent at once." default:"2"`
	CPUs        int           `name:"cpus" help:"Processors of a machine." default:"2"`
	Memory      int           `help:"Its memory in MiB." default:"768" placeholder:"MIB"`
	Accelerator string        `help:"How QEMU runs the machines' code: kvm, tcg, or the better one that works." enum:"auto,kvm,tcg" default:"auto"`
	Timeout     time.Duration `help:"How long one machine may take." default:"10m"`
	Bin         string        `help:"Where verdictd, stress and conntrackwatch are. Default: beside this program." type:"path" placeholder:"DIR"`
	Out         string        `help:"Keep the samples in this folder, below before and after, for stress compare. Default: a temporary one." type:"path" placeholder:"DIR"`
	FailOn      string        `help:"Conditions of stress compare, such as 'clashes>0,lost>0'." placeholder:"FIGURE>X,..."`
	JSON        string        `name:"json" help:"Write the comparison as JSON to FILE; - writes it to stdout, in place of the tables." placeholder:"FILE"`
	HTML        string        `name:"html" help:"Write the comparison as a page to FILE." placeholder:"FILE"`
}

// scenarios are rows by their names.
var scenarios = map[string]report.Run{
	"queue":         {Placement: "verdict3", Fanout: crashFanout, Guard: report.GuardOff, Events: report.EventsListener},
	"guard":         {Placement: "verdict3", Fanout: crashFanout, Guard: report.GuardHold, Events: report.EventsListener},
	"pre-conntrack": {Placement: report.PlacementPreConntrack, Fanout: "balance", Guard: report.GuardOff, Events: report.EventsListener},
	"events-off":    {Placement: "verdict3", Fanout: crashFanout, Guard: report.GuardOff, Events: report.EventsOff},
}

// Validate is called by kong.
func (c *kernelCompareCmd) Validate() error {
	if c.Repeat < 1 || c.Repeat > 1000 {
		return fmt.Errorf("--repeat %d is not within 1 to 1000", c.Repeat)
	}
	return (&kernelCrashCmd{Flows: c.Flows, Burst: c.Burst, Repeat: c.Repeat, CPUs: c.CPUs, Timeout: c.Timeout}).Validate()
}

// A side is one of the two kernels.
type side struct {
	name, image string
	dir         string
	runs        int
	broke       []string // titles of what it reported
}

// Run is called by kong.
func (c *kernelCompareCmd) Run(ctx context.Context, std streams) (err error) {
	p, err := findPrograms(c.Bin)
	if err != nil {
		return err
	}
	if len(c.Scenario) == 0 {
		c.Scenario = []string{"queue", "guard"}
	}
	dir := c.Out
	if dir == "" {
		if dir, err = os.MkdirTemp("", "lab-"); err != nil {
			return fmt.Errorf("make a directory for the samples (set TMPDIR to where that is allowed): %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	sides := []*side{{name: "before", image: c.Before}, {name: "after", image: c.After}}
	for _, s := range sides {
		s.dir = filepath.Join(dir, s.name)
		if err := os.MkdirAll(s.dir, 0o750); err != nil {
			return fmt.Errorf("make a directory for the samples: %w", err)
		}
		old, err := os.ReadDir(s.dir)
		if err != nil {
			return fmt.Errorf("look for samples of another run: %w", err)
		}
		if len(old) > 0 {
			return fmt.Errorf("%w: --out: %s has samples of another run", cli.ErrUsage, s.dir)
		}
	}
	accelerator, err := c.sample(ctx, sides, std)
	if err != nil {
		return err
	}
	args := []string{"compare", sides[0].dir, sides[1].dir}
	for flag, value := range map[string]string{"--fail-on": c.FailOn, "--json": c.JSON, "--html": c.HTML} {
		if value != "" {
			args = append(args, flag, value)
		}
	}
	compare := exec.CommandContext(ctx, p.stress, args...)
	compare.Stdout, compare.Stderr = std.out, std.err
	err = compare.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() {
		err = cli.ErrReported
	}
	if accelerator == "tcg" {
		fmt.Fprintln(std.err, "lab: these machines were emulated: clashes, losses and crashes mean what they say; packets per second and latencies are those of the emulator, and a change in them is no change of the kernel's speed")
	}
	for _, s := range sides {
		fmt.Fprintf(std.err, "lab: %s (%s): %d of %d machines reported a fault%s\n", s.name, s.image, len(s.broke), s.runs, quoteFirst(s.broke))
	}
	if err == nil && len(sides[1].broke) > 0 {
		return cli.ErrReported
	}
	return err
}

func quoteFirst(titles []string) string {
	if len(titles) == 0 {
		return ""
	}
	return ": " + titles[0]
}

// sample boots every scenario on either kernel in turns. A machine that breaks gives what it told, as a sample that failed.
func (c *kernelCompareCmd) sample(ctx context.Context, sides []*side, std streams) (accelerator string, err error) {
	machines := kernelCrashCmd{
		Flows: c.Flows, Burst: c.Burst, CPUs: c.CPUs, Memory: c.Memory, Accelerator: c.Accelerator, Timeout: c.Timeout, Bin: c.Bin,
	}
	total, begun := c.Repeat*len(c.Scenario)*len(sides), time.Now()
	for n := range total {
		s := sides[n%len(sides)]
		name := c.Scenario[n/len(sides)%len(c.Scenario)]
		row := report.CrashRow{Kernel: s.name, Run: scenarios[name]}
		used, err := machines.boot(ctx, &row, s.image, std.err)
		if err != nil {
			return accelerator, fmt.Errorf("scenario %s on %s: %w", name, s.image, err)
		}
		accelerator = used
		row.Judge()
		s.runs++
		if titles := slices.Concat(row.Report[:min(1, len(row.Report))], row.Others); len(titles) > 0 {
			s.broke = append(s.broke, titles[0])
			row.Error = "" // the kernel broke, and the row's figures are still those of its workload
		}
		fmt.Fprintf(std.err, "[%d/%d, %.0f s] %s, %s: %s\n", n+1, total, time.Since(begun).Seconds(), s.name, name, strings.TrimPrefix(row.Line(), row.Name()+": "))
		if err := c.keep(s, n, &row); err != nil {
			return accelerator, err
		}
	}
	return accelerator, nil
}

// keep writes one sample as a document of the matrix, which stress compare reads.
func (c *kernelCompareCmd) keep(s *side, n int, row *report.CrashRow) error {
	if row.Partial && row.Error == "" {
		row.Error = "the machine ended early: " + row.Ended
	}
	rep := report.Report{
		Schema: report.Schema, Version: version, Host: report.Host{Kernel: row.Release, CPUs: c.CPUs},
		Settings: report.Settings{Flows: c.Flows, Burst: c.Burst, Threads: 1, Queues: crashQueues, Analysis: report.AnalysisNone},
		Started:  time.Now(), Planned: 1, Notes: []string{}, Runs: []report.Run{row.Run},
	}
	rep.Verdict = report.Judge(&rep)
	b, err := encode(rep)
	if err == nil {
		err = os.WriteFile(filepath.Join(s.dir, strconv.Itoa(n)+".json"), b, 0o644)
	}
	if err != nil {
		return fmt.Errorf("keep a sample: %w", err)
	}
	return nil
}
