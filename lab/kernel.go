package main

import (
	"context"
	"fmt"
	"time"

	"verdictd/lab/internal/kbuild"
	"verdictd/lab/internal/kernels"
	"verdictd/lab/internal/kernels/build"
	"verdictd/lab/internal/kernels/command"
	"verdictd/lab/internal/kernels/doctor"
)

// kernelCmd is `lab kernel`: kernels in virtual machines.
type kernelCmd struct {
	Doctor         kernelDoctorCmd         `cmd:"" help:"Say what is installed, what is missing, the command that installs it, and how virtual machines run here."`
	Build          kernelBuildCmd          `cmd:"" help:"Build a small kernel with the fault or without it, from a source of Linux; prints the image's path."`
	Fetch          kernelFetchCmd          `cmd:"" help:"Fetch a distribution's kernel into the cache and print its path, for machines that will have no network."`
	Run            kernelRunCmd            `cmd:"" help:"Boot a kernel in a virtual machine, run a command in it, and return its exit status."`
	Crash          kernelCrashCmd          `cmd:"" help:"Show the crash on a vulnerable kernel, gone with the fix, gone with the guard; every row in a virtual machine of its own."`
	Trace          kernelTraceCmd          `cmd:"" help:"Check conntrackwatch trace in a virtual machine, against loads whose clashes are known and the kernel's counters."`
	Modload        kernelModloadCmd        `cmd:"" help:"Count how modules fail to load for parallel threads, with today's modprobe and with an old one's race."`
	Procnet        kernelProcnetCmd        `cmd:"" help:"Check the names of /proc/net in a virtual machine, and that a hang there would be found."`
	Compare        kernelCompareCmd        `cmd:"" help:"Run the same scenarios on two kernels, in turns, and say what changed."`
	Check          kernelCheckCmd          `cmd:"" help:"Check in a few minutes that the programs do on other kernels what they promise: queue rules, the guard, modules, traces, /proc/net."`
	Package        kernelPackageCmd        `cmd:"" help:"Install, run, upgrade and remove the Debian package in a virtual machine with systemd, under a load."`
	Workload       kernelWorkloadCmd       `cmd:"" hidden:"" help:"One row of an experiment in such a machine."`
	TraceGuest     kernelTraceGuestCmd     `cmd:"" hidden:"" help:"What trace runs in the virtual machine."`
	ModloadGuest   kernelModloadGuestCmd   `cmd:"" hidden:"" help:"What modload runs in its virtual machines."`
	ConntrackGuest kernelConntrackGuestCmd `cmd:"" hidden:"" help:"What the check conntrack runs in its virtual machine."`
	PackageGuest   kernelPackageGuestCmd   `cmd:"" hidden:"" help:"What package runs in its virtual machine."`
	Guest          kernelGuestCmd          `cmd:"" hidden:"" help:"The init of these virtual machines."`
}

// kernelDoctorCmd is `lab kernel doctor`.
type kernelDoctorCmd struct {
	JSON string `name:"json" help:"Write the findings as JSON to FILE; - writes them to stdout, and the text to stderr." placeholder:"FILE"`
}

// Run is called by kong.
func (c *kernelDoctorCmd) Run(ctx context.Context, std streams) error {
	d, err := doctor.Diagnose(ctx)
	if err != nil {
		return err
	}
	return std.conclude(ctx, c.JSON, d, d.OK)
}

// kernelSource is where kernels are built from: the flags of all commands that build.
type kernelSource struct {
	Source string   `help:"Source of Linux: a folder, a tarball, or debian for Debian's linux-source-6.1, which is fetched if it is not installed. It is never written to." default:"debian" placeholder:"DIR|TARBALL|debian"`
	Config []string `help:"A file of CONFIG_ lines to add to the lab's configuration. May be repeated." type:"existingfile" placeholder:"FILE" sep:"none"`
}

func (s *kernelSource) builder() *build.Builder {
	return &build.Builder{Source: s.Source, Fragments: s.Config}
}

// kernelBuildCmd is `lab kernel build`.
type kernelBuildCmd struct {
	kernelSource
	Variant kbuild.Variant `help:"fixed reads the conntrack entry again after its insertion, vulnerable does not (CVE-2022-49561); el7-shape is vulnerable in the way of CentOS 7, with the windows of its race widened." enum:"fixed,vulnerable,el7-shape" default:"fixed"`
	KASAN   bool           `name:"kasan" help:"Build KASAN in, which reports bad memory accesses. A use after free mostly goes unseen without it."`
	JSON    string         `name:"json" help:"Write what was built as JSON to FILE; - writes it to stdout, in place of the image's path." placeholder:"FILE"`
}

// Run is called by kong.
func (c *kernelBuildCmd) Run(ctx context.Context, std streams) error {
	if err := canWrite(c.JSON); err != nil {
		return err
	}
	image, err := c.builder().Build(ctx, c.Variant, c.KASAN, std.err)
	if err != nil {
		return err
	}
	if c.JSON != "" {
		err = std.writeDocument(c.JSON, build.NewDocument(image))
	}
	if c.JSON != "-" {
		fmt.Fprintln(std.out, image.Path)
	}
	return err
}

// kernelFetchCmd is `lab kernel fetch`.
type kernelFetchCmd struct {
	Image string `arg:"" help:"debian, or debian:SUITE, such as debian:bookworm-backports." placeholder:"IMAGE"`
}

// Run is called by kong.
func (c *kernelFetchCmd) Run(ctx context.Context, std streams) error {
	i, err := kernels.FindImage(ctx, c.Image, "", std.err)
	if err != nil {
		return err
	}
	fmt.Fprintln(std.out, i.Path)
	return nil
}

// kernelRunCmd is `lab kernel run`.
type kernelRunCmd struct {
	machineFlags
	Load    []string      `help:"A module to load as well, with what it depends on. May be repeated." placeholder:"MODULE"`
	File    []string      `help:"A file or folder of this machine to put into the guest. May be repeated; dynamic programs bring their libraries." placeholder:"HOST[:GUEST]" sep:"none"`
	Env     []string      `help:"A variable of the command. May be repeated." placeholder:"NAME=VALUE" sep:"none"`
	Timeout time.Duration `help:"How long all of it may take." default:"5m"`
	Console bool          `help:"Show the kernel's console on stderr."`
	Out     string        `help:"Write what the command left in /out to this folder." type:"path" placeholder:"DIR"`
	JSON    string        `name:"json" help:"Write how it went as JSON to FILE; - writes it to stdout, in place of the command's output." placeholder:"FILE"`
	Command []string      `arg:"" passthrough:"" help:"What to run, after --."`
}

// Run is called by kong.
func (c *kernelRunCmd) Run(ctx context.Context, std streams) error {
	if len(c.Command) > 0 && c.Command[0] == "--" {
		c.Command = c.Command[1:]
	}
	if err := canWrite(c.JSON); err != nil {
		return err
	}
	config := &command.Config{
		Machine: c.machine(), Load: c.Load, Files: c.File, Env: c.Env, Timeout: c.Timeout, Console: c.Console,
		Out: c.Out, Command: c.Command,
	}
	stdout := std.out
	if c.JSON == "-" {
		stdout = nil
	}
	run, err := command.Run(ctx, config, stdout, std.err)
	if err != nil {
		return err
	}
	if c.JSON != "" {
		if err := std.writeDocument(c.JSON, run); err != nil {
			return err
		}
	}
	return kernels.ReportEnd(std.err, run.Result)
}

// machineFlags are what all commands take that boot a machine.
type machineFlags struct {
	Image   string `name:"image" aliases:"bzimage" required:"" help:"The kernel: a bzImage or vmlinuz; debian or debian:SUITE, such as debian:bookworm-backports, whose package is then fetched; or the name of one that lab kernel build made." placeholder:"IMAGE"`
	Modules string `help:"The folder /lib/modules/RELEASE of that kernel, for a distribution's. Default: where an installed kernel has it." type:"path" placeholder:"DIR"`
	CPUs    int    `name:"cpus" help:"Processors of the machine." default:"2"`
	Memory  int    `help:"Its memory in MiB. Default: what its files need, at least 512." placeholder:"MIB"`

	Append      []string `help:"A word for the kernel's command line, such as slub_debug=FPZ. May be repeated." placeholder:"WORD" sep:"none"`
	Accelerator string   `help:"How QEMU runs the machine's code: kvm, tcg, or the better one that works." enum:"auto,kvm,tcg" default:"auto"`
	Bin         string   `help:"Where verdictd, stress and conntrackwatch are. Default: beside this program." type:"path" placeholder:"DIR"`
}

func (m *machineFlags) machine() kernels.Machine {
	return kernels.Machine{Image: m.Image, Modules: m.Modules, CPUs: m.CPUs, Memory: m.Memory, Append: m.Append,
		Accelerator: m.Accelerator, Bin: m.Bin}
}
