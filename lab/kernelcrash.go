package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"verdictd/lab/internal/kernels/compare"

	"verdictd/internal/cli"
	"verdictd/internal/report"
	"verdictd/lab/internal/kbuild"
	"verdictd/lab/internal/kernels/crash"
	"verdictd/lab/internal/kernels/workload"
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
	HTML        string         `name:"html" type:"page" help:"Write the report as one self-contained page to FILE." placeholder:"FILE"`
}

func (c *kernelCrashCmd) config() *crash.Config {
	return &crash.Config{
		Machines: workload.Machines{
			Flows: c.Flows, Burst: c.Burst, CPUs: c.CPUs, Memory: c.Memory, Accelerator: c.Accelerator,
			Timeout: c.Timeout,
			Modules: c.Modules, Bin: c.Bin, Console: c.Console,
		},
		Builder: c.builder(), Variant: c.Variant, Image: c.Image, Repeat: c.Repeat,
	}
}

// Validate is called by kong.
func (c *kernelCrashCmd) Validate() error { return c.config().Validate() }

// Run is called by kong.
func (c *kernelCrashCmd) Run(ctx context.Context, std streams) error {
	if err := canWrite(c.JSON, c.HTML); err != nil {
		return err
	}
	rep, err := crash.Run(ctx, c.config(), version, std.err)
	if err != nil {
		return err
	}
	err = errors.Join(
		std.write(c.JSON, func(w io.Writer) error { return report.WriteCrashText(w, rep) }, rep),
		writePage(c.HTML, func(w io.Writer) error { return report.WriteCrashHTML(w, rep) }),
	)
	if where := written(c.JSON, c.HTML); err == nil && ctx.Err() != nil && where != "" {
		fmt.Fprintf(std.err, "lab: interrupted%s\n", where)
	}
	if err == nil && !rep.Verdict.OK {
		err = cli.ErrReported
	}
	return err
}

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
	HTML        string        `name:"html" type:"page" help:"Write the comparison as a page to FILE." placeholder:"FILE"`
}

func (c *kernelCompareCmd) config() *compare.Config {
	return &compare.Config{
		Machines: workload.Machines{
			Flows: c.Flows, Burst: c.Burst, CPUs: c.CPUs, Memory: c.Memory, Accelerator: c.Accelerator,
			Timeout: c.Timeout, Bin: c.Bin,
		},
		Before: c.Before, After: c.After, Scenarios: c.Scenario, Repeat: c.Repeat,
		Out: c.Out, FailOn: c.FailOn, JSON: c.JSON, HTML: c.HTML,
	}
}

// Validate is called by kong.
func (c *kernelCompareCmd) Validate() error { return c.config().Validate() }

// Run is called by kong.
func (c *kernelCompareCmd) Run(ctx context.Context, std streams) error {
	if err := canWrite(c.JSON, c.HTML); err != nil {
		return err
	}
	return compare.Run(ctx, c.config(), version, std.out, std.err)
}
