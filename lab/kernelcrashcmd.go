package main

import (
	"context"
	"errors"
	"io"
	"time"

	"verdictd/internal/cli"
	"verdictd/internal/report"
	"verdictd/lab/internal/kbuild"
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

func (c *kernelCrashCmd) config() *crashConfig {
	return &crashConfig{
		workloadMachines: workloadMachines{
			Flows: c.Flows, Burst: c.Burst, CPUs: c.CPUs, Memory: c.Memory, Accelerator: c.Accelerator, Timeout: c.Timeout,
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
	rep, err := runCrash(ctx, c.config(), version, std.err)
	if err != nil {
		return err
	}
	err = errors.Join(
		std.write(c.JSON, func(w io.Writer) error { return report.WriteCrashText(w, rep) }, rep),
		writePage(c.HTML, func(w io.Writer) error { return report.WriteCrashHTML(w, rep) }),
	)
	if err == nil && !rep.Verdict.OK {
		err = cli.ErrReported
	}
	return err
}
