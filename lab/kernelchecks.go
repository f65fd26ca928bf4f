package main

import (
	"context"
	"errors"
	"time"

	"verdictd/lab/internal/kernels"
	"verdictd/lab/internal/kernels/check"
	"verdictd/lab/internal/kernels/installed"
	"verdictd/lab/internal/kernels/modload"
	"verdictd/lab/internal/kernels/procnet"
	"verdictd/lab/internal/kernels/trace"
)

// kernelTraceCmd is `lab kernel trace`.
type kernelTraceCmd struct {
	machineFlags
	Flows   int           `help:"Flows of each load." default:"100"`
	Burst   int           `help:"Packets of each flow: all but one of them clash." default:"4"`
	Timeout time.Duration `help:"How long all of it may take." default:"10m"`
	Console bool          `help:"Show the kernel's console on stderr."`
	JSON    string        `name:"json" help:"Write the rows as JSON to FILE; - writes them to stdout, and the table to stderr." placeholder:"FILE"`
}

// Help is called by kong.
func (c *kernelTraceCmd) Help() string {
	return "Checks conntrackwatch trace against loads whose clashes are known: queues hold all packets of all " +
		"flows, so that all but one of each flow clash. Each has to be shown once with its tuple, and those " +
		"at confirm have to be as many as the kernel counts in clash_resolve. The kernel has to describe its " +
		"types (CONFIG_DEBUG_INFO_BTF) and to have fentry and kprobes, as those of distributions do."
}

func (c *kernelTraceCmd) config() *trace.Config {
	return &trace.Config{Machine: c.machine(), Flows: c.Flows, Burst: c.Burst, Timeout: c.Timeout, Console: c.Console}
}

// Validate is called by kong.
func (c *kernelTraceCmd) Validate() error { return c.config().Validate() }

// Run is called by kong.
func (c *kernelTraceCmd) Run(ctx context.Context, std streams) error {
	if err := canWrite(c.JSON); err != nil {
		return err
	}
	result, err := trace.Run(ctx, c.config(), std.err)
	if err != nil {
		return err
	}
	return std.conclude(ctx, c.JSON, result, !result.Disagrees())
}

// kernelModloadCmd is `lab kernel modload`.
type kernelModloadCmd struct {
	machineFlags
	Rounds   int           `help:"How often the module is unloaded and asked for again, in each row." default:"1000"`
	Starts   int           `help:"How often verdictd is started without any module loaded." default:"5"`
	Modprobe string        `help:"Which modprobes: this machine's, the stand-in with the old race, or both." enum:"today,stand-in,both" default:"both"`
	Threads  int           `help:"Threads that open a netlink socket at the same moment." default:"8"`
	Part     string        `name:"protocol" help:"The protocol of the sockets." default:"xfrm"`
	Widen    bool          `help:"Widen the moment in which the race can happen, by having the kernel print in it." default:"true" negatable:""`
	Timeout  time.Duration `help:"How long each of the two machines may take." default:"1h"`
	Console  bool          `help:"Show the kernels' consoles on stderr."`
	JSON     string        `name:"json" help:"Write the rows as JSON to FILE; - writes them to stdout, and the table to stderr." placeholder:"FILE"`
}

// Help is called by kong.
func (c *kernelModloadCmd) Help() string {
	return "Boots the kernel of a distribution twice, with this machine's modprobe and with a stand-in that has " +
		"the race of kmod up to 19 (it takes a module that is being loaded for built in). In each, threads " +
		"open netlink sockets at the same moment while the module behind them is not loaded: as they are " +
		"(naive), and after the module was brought in as verdictd does (modules-first). Then verdictd itself " +
		"is started without its modules. The stand-in must make naive threads fail, and nothing else may."
}

func (c *kernelModloadCmd) config() *modload.Config {
	return &modload.Config{
		Machine: c.machine(), Rounds: c.Rounds, Starts: c.Starts, Threads: c.Threads, Modprobe: c.Modprobe,
		Protocol: c.Part, Widen: c.Widen,
		Timeout: c.Timeout, Console: c.Console,
	}
}

// Validate is called by kong.
func (c *kernelModloadCmd) Validate() error { return c.config().Validate() }

// Run is called by kong.
func (c *kernelModloadCmd) Run(ctx context.Context, std streams) error {
	if err := canWrite(c.JSON); err != nil {
		return err
	}
	result, err := modload.Run(ctx, c.config(), std.err)
	if result == nil {
		return err
	}
	if written := std.conclude(ctx, c.JSON, result, result.OK || err != nil); written != nil {
		return errors.Join(err, written)
	}
	return err
}

// kernelProcnetCmd is `lab kernel procnet`.
type kernelProcnetCmd struct {
	machineFlags
	Duration time.Duration `help:"How long the names are used, each time." default:"10s"`
	Timeout  time.Duration `help:"How long each of the two machines may take." default:"5m"`
	Console  bool          `help:"Show the kernels' consoles on stderr."`
	JSON     string        `name:"json" help:"Write the result as JSON to FILE; - writes it to stdout, and the summary to stderr." placeholder:"FILE"`
}

// Help is called by kong.
func (c *kernelProcnetCmd) Help() string {
	return "Runs stress procnet in a virtual machine, which must find nothing, and once more with a thread that " +
		"is made to hang, which must be found."
}

// Run is called by kong.
func (c *kernelProcnetCmd) Run(ctx context.Context, std streams) error {
	if err := canWrite(c.JSON); err != nil {
		return err
	}
	config := &procnet.Config{Machine: c.machine(), Duration: c.Duration, Timeout: c.Timeout, Console: c.Console}
	result, err := procnet.Run(ctx, config, std.err)
	if err != nil {
		return err
	}
	return std.conclude(ctx, c.JSON, result, result.Problem == "")
}

// kernelCheckCmd is `lab kernel check`.
type kernelCheckCmd struct {
	Images      []string      `name:"image" help:"A kernel with modules, see lab kernel run. May be repeated." default:"debian" placeholder:"IMAGE"`
	Only        []string      `help:"Run only these checks: rules, program, conntrack, trace, modload, procnet. May be repeated. Default: all." enum:"rules,program,conntrack,trace,modload,procnet" placeholder:"CHECK"`
	Accelerator string        `help:"How QEMU runs the machines' code: kvm, tcg, or the better one that works." enum:"auto,kvm,tcg" default:"auto"`
	Bin         string        `help:"Where verdictd, stress and conntrackwatch are. Default: beside this program." type:"path" placeholder:"DIR"`
	Timeout     time.Duration `help:"How long one machine may take." default:"5m"`
	JSON        string        `name:"json" help:"Write the result as JSON to FILE; - writes it to stdout, and the table to stderr." placeholder:"FILE"`
}

// Run is called by kong.
func (c *kernelCheckCmd) Run(ctx context.Context, std streams) error {
	if err := canWrite(c.JSON); err != nil {
		return err
	}
	config := &check.Config{Images: c.Images, Only: c.Only, Accelerator: c.Accelerator, Bin: c.Bin, Timeout: c.Timeout}
	result, err := check.Run(ctx, config, std.err)
	if err != nil {
		return err
	}
	return std.conclude(ctx, c.JSON, result, result.OK)
}

// packageLoad is what the service goes through.
type packageLoad struct {
	Rate     int           `help:"Packets a second of each of two streams. Default: a tenth of what a trial shows that the machine manages." placeholder:"N"`
	Gap      time.Duration `help:"The queues are made to take all packets of so long, and these wait so long for a next process. Default: 30s, or 8 times as long as a restart on trial." placeholder:"TIME"`
	Reloads  int           `help:"How often the service is reloaded." default:"5"`
	Restarts int           `help:"How often it is restarted." default:"3"`
	Kills    int           `help:"How often it is killed (SIGKILL)." default:"3"`
	Upgrades int           `help:"How often another version of the package is installed." default:"2"`
}

func (l *packageLoad) load() installed.Load {
	return installed.Load{Rate: l.Rate, Gap: l.Gap, Reloads: l.Reloads, Restarts: l.Restarts, Kills: l.Kills, Upgrades: l.Upgrades}
}

// kernelPackageCmd is `lab kernel package`.
type kernelPackageCmd struct {
	machineFlags
	packageLoad
	Deb       string        `required:"" help:"The package of verdictd." type:"existingfile" placeholder:"FILE"`
	Before    string        `required:"" help:"The package of the version that it is upgraded from." type:"existingfile" placeholder:"FILE"`
	Reference string        `help:"The C program on libnetfilter_queue, to have it go through the same faults. Its libraries replace those of the machine, so it has to be of the same suite." type:"existingfile" placeholder:"PATH"`
	Suite     string        `help:"The suite of Debian whose userland the machine has." default:"bookworm"`
	Timeout   time.Duration `help:"How long all of it may take." default:"15m"`
	Console   bool          `help:"Show the kernel's console on stderr."`
}

// Help is called by kong.
func (*kernelPackageCmd) Help() string {
	return "The machine has Debian's userland and systemd, which mmdebstrap makes at the first time and the cache " +
		"keeps. Two streams of packets, and new flows, go on while the service is reloaded, restarted, killed and " +
		"upgraded: nothing may get lost, be duplicated or reordered, clash, or pass unjudged."
}

// Run is called by kong.
func (c *kernelPackageCmd) Run(ctx context.Context, std streams) error {
	config := &installed.Config{Machine: c.machine(), Suite: c.Suite, Package: c.Deb, Before: c.Before,
		Reference: c.Reference, Load: c.load(),
		Timeout: c.Timeout, Console: c.Console}
	result, err := installed.Run(ctx, config, std.out, std.err)
	if err != nil {
		return err
	}
	return kernels.ReportEnd(std.err, result)
}
