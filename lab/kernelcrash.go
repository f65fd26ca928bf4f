package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"verdictd/internal/cli"
	"verdictd/internal/kbuild"
	"verdictd/internal/kernelfacts"
	"verdictd/internal/report"
	"verdictd/internal/vm"
)

// kernelCrashCmd is `lab kernel crash`.
type kernelCrashCmd struct {
	kernelSource
	Variant     kbuild.Variant `help:"What the vulnerable kernel is: vulnerable, where KASAN sees the use after free, or el7-shape, which dereferences NULL as CentOS 7 did, with the windows of that race widened." enum:"vulnerable,el7-shape" default:"vulnerable"`
	Image       string         `aliases:"bzimage" help:"Try this kernel in place of built ones: a bzImage or vmlinuz, best with KASAN." placeholder:"IMAGE"`
	Modules     string         `help:"With --image: the folder /lib/modules/RELEASE of that kernel, for a distribution's." type:"path" placeholder:"DIR"`
	Flows       int            `help:"Flows in each machine." default:"1000"`
	Burst       int            `help:"Packets of a flow, sent at once." default:"2"`
	Repeat      int            `help:"How often each row is run, each time in a new machine." default:"1"`
	CPUs        int            `name:"cpus" help:"Processors of a machine: a clash in the confirm needs two at least." default:"2"`
	Memory      int            `help:"Its memory in MiB." default:"768" placeholder:"MIB"`
	Accelerator string         `help:"How QEMU runs the machine's code: kvm, tcg, or the better one that works." enum:"auto,kvm,tcg" default:"auto"`
	Timeout     time.Duration  `help:"How long one machine may take." default:"10m"`
	Console     bool           `help:"Show the machines' consoles on stderr."`
	Bin         string         `help:"Where verdictd, stress and conntrackwatch are. Default: beside this program." type:"path" placeholder:"DIR"`
	JSON        string         `name:"json" help:"Write the report as JSON to FILE; - writes it to stdout, and the table to stderr." placeholder:"FILE"`
	HTML        string         `name:"html" help:"Write the report as one self-contained page to FILE." placeholder:"FILE"`
}

// Validate is called by kong.
func (c *kernelCrashCmd) Validate() error {
	var errs []error
	for _, bound := range []struct {
		flag      string
		n         int
		low, high int
	}{{"--flows", c.Flows, 1, maxFlows}, {"--burst", c.Burst, 2, maxBurst}, {"--repeat", c.Repeat, 1, 1000}, {"--cpus", c.CPUs, 2, 8}} {
		if bound.n < bound.low || bound.n > bound.high {
			errs = append(errs, fmt.Errorf("%s %d is not within %d to %d", bound.flag, bound.n, bound.low, bound.high))
		}
	}
	if c.Modules != "" && c.Image == "" {
		errs = append(errs, errors.New("--modules goes with --image: kernels that the lab builds have none"))
	}
	if c.Timeout <= 0 {
		errs = append(errs, fmt.Errorf("--timeout %v is not above zero", c.Timeout))
	}
	return errors.Join(errs...)
}

// Run is called by kong.
func (c *kernelCrashCmd) Run(ctx context.Context, std streams) error {
	if _, err := vm.FindQEMU(); err != nil {
		return err
	}
	if _, err := findPrograms(c.Bin); err != nil {
		return err
	}
	for _, path := range []string{c.JSON, c.HTML} {
		if err := canWrite(path); err != nil {
			return err
		}
	}
	begun := time.Now()
	kernels, err := c.kernels(ctx, std.err)
	if err != nil {
		return err
	}
	rep, err := c.newReport(begun, kernels)
	if err != nil {
		return err
	}
	c.machines(ctx, rep, kernels, std.err)
	rep.Seconds, rep.Interrupted = time.Since(begun).Seconds(), ctx.Err() != nil
	report.JudgeCrash(rep)
	err = std.write(c.JSON, func(w io.Writer) error { return report.WriteCrashText(w, rep) }, rep)
	if c.HTML != "" {
		err = errors.Join(err, writePage(c.HTML, func(w io.Writer) error { return report.WriteCrashHTML(w, rep) }))
	}
	switch {
	case err != nil:
		return err
	case !rep.Verdict.OK:
		return cli.ErrReported
	}
	return nil
}

// kernels are the images by the names that rows have for them.
func (c *kernelCrashCmd) kernels(ctx context.Context, w io.Writer) (map[string]report.CrashKernel, error) {
	images := map[string]report.CrashKernel{}
	if c.Image != "" {
		images[report.KernelOwn] = report.CrashKernel{Kernel: report.KernelOwn, Image: c.Image}
		return images, nil
	}
	variants := []kbuild.Variant{c.Variant}
	if c.Variant == kbuild.Vulnerable {
		variants = append(variants, kbuild.Fixed)
	}
	for _, v := range variants {
		// A NULL dereference shows without KASAN, which would slow down the other side of the race.
		kasan := v != kbuild.EL7Shape
		image, err := c.build(ctx, v, kasan, w)
		if err != nil {
			return nil, err
		}
		images[string(v)] = report.CrashKernel{Kernel: string(v), Image: image.Path, Release: image.Release, Source: image.Source, KASAN: image.KASAN}
	}
	return images, nil
}

// el7 says that the machines have the kernel of that shape.
func (c *kernelCrashCmd) el7() bool { return c.Variant == kbuild.EL7Shape && c.Image == "" }

// crashRows is what runs on the kernels that there are, in the order of the story.
func (c *kernelCrashCmd) crashRows() []report.CrashRow {
	row := func(kernel, guard, placement, events, expected string) report.CrashRow {
		fanout := crashFanout
		if placement == report.PlacementPreConntrack {
			fanout = "balance" // see crashFanout
		}
		return report.CrashRow{Kernel: kernel, Expected: expected, Run: report.Run{Program: report.ProgramVerdictd, Placement: placement, Fanout: fanout, Guard: guard, Events: events}}
	}
	const queued, before = "verdict3", report.PlacementPreConntrack
	broken, first := string(c.Variant), report.OutcomeFires
	if c.Image != "" {
		broken, first = report.KernelOwn, ""
	}
	rows := []report.CrashRow{row(broken, report.GuardOff, queued, report.EventsListener, first)}
	if c.Image == "" && c.Variant == kbuild.Vulnerable {
		rows = append(rows, row(report.KernelFixed, report.GuardOff, queued, report.EventsListener, report.OutcomeClean))
	}
	other := func(guard, expected string) report.CrashRow {
		r := row(broken, guard, queued, report.EventsListener, expected)
		r.Program = report.ProgramGo
		return r
	}
	rows = append(rows, row(broken, report.GuardHold, queued, report.EventsListener, report.OutcomeClean))
	if c.el7() {
		return rows // the other rows are about the fault as it is seen by KASAN
	}
	return append(rows,
		other(report.GuardOff, first), other(report.GuardHold, report.OutcomeClean),
		row(broken, report.GuardOff, before, report.EventsListener, report.OutcomeClean),
		row(broken, report.GuardOff, queued, report.EventsOff, report.OutcomeClean))
}

func (c *kernelCrashCmd) newReport(begun time.Time, kernels map[string]report.CrashKernel) (*report.CrashReport, error) {
	release, err := kernelfacts.Release()
	if err != nil {
		return nil, err
	}
	rep := &report.CrashReport{
		Schema: report.CrashSchema, Version: version,
		Host:     report.CrashHost{Kernel: release, Architecture: runtime.GOARCH, CPUs: runtime.NumCPU()},
		Settings: report.CrashSettings{Flows: c.Flows, Burst: c.Burst, Queues: crashQueues, CPUs: c.CPUs, Repeat: c.Repeat},
		Started:  begun, Planned: c.Repeat * len(c.crashRows()), Notes: []string{}, Rows: []report.CrashRow{},
	}
	for _, name := range []string{report.KernelVulnerable, report.KernelFixed, report.KernelEL7Shape, report.KernelOwn} {
		if k, ok := kernels[name]; ok {
			rep.Kernels = append(rep.Kernels, k)
		}
	}
	return rep, nil
}

// machines boots one after the other. The rows take turns, so that what changes on this machine meanwhile meets all of them.
func (c *kernelCrashCmd) machines(ctx context.Context, rep *report.CrashReport, kernels map[string]report.CrashKernel, w io.Writer) {
	begun := time.Now()
	terminal := cli.IsTerminal(w)
	noted := map[string]bool{}
	note := func(text string) {
		if !noted[text] {
			noted[text] = true
			rep.Notes = append(rep.Notes, text)
		}
	}
	if c.el7() {
		note("el7-shape has its windows WIDENED: 200 µs each before an entry is inserted, after a clash, and in the allocation of an entry; and the allocator hands out first what was freed last (" + strings.Join(el7Allocator, " ") + "). Where it fires it shows that CentOS 7's trace comes from this fault, not how often it comes.")
	} else {
		note("With pre-conntrack the addresses choose the queue (fan-out balance). Where a flow takes several queues, their verdicts let its packets into conntrack side by side, and these clash without any wait in between: the placement alone prevents nothing then.")
	}
	for n := range rep.Planned {
		if ctx.Err() != nil {
			break
		}
		rows := c.crashRows()
		row := rows[n%len(rows)]
		row.Repeat = n/len(rows) + 1
		if terminal {
			fmt.Fprintf(w, "\r\x1b[K[%d/%d, %.0f s] %s", n+1, rep.Planned, time.Since(begun).Seconds(), row.Name())
		}
		accelerator, err := c.boot(ctx, &row, kernels[row.Kernel].Image, w)
		if terminal {
			fmt.Fprint(w, "\r\x1b[K")
		}
		if err != nil {
			if ctx.Err() != nil {
				break // the interruption is what failed
			}
			row.Error = err.Error()
		}
		if accelerator != "" {
			rep.Host.Accelerator = accelerator
		}
		row.Judge()
		fmt.Fprintf(w, "[%d/%d, %.0f s] %s\n", n+1, rep.Planned, time.Since(begun).Seconds(), row.Line())
		for _, text := range kernelNotes(row.Release) {
			note(text)
		}
		rep.Rows = append(rep.Rows, row)
	}
	if rep.Host.Accelerator == "tcg" {
		note("The machines' processors are emulated: their times are for comparing rows, and tell nothing about a real machine.")
	}
	for i := range rep.Kernels {
		k := &rep.Kernels[i]
		for _, row := range rep.Rows {
			if row.Kernel == k.Kernel && row.Release != "" {
				k.Release, k.KASAN = row.Release, row.KASAN
			}
		}
	}
}
