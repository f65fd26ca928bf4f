package main

import (
	"context"
	"io"
	"os"

	"github.com/alecthomas/kong"

	"verdictd/internal/cli"
	"verdictd/internal/netlab"
	"verdictd/stress/internal/record"
)

var version = "devel"

type commands struct {
	Version   kong.VersionFlag `help:"Print the version and exit."`
	KernelLog string           `help:"Look for the kernel's reports in this file instead of /dev/kmsg: one that its serial console is written to." placeholder:"FILE"`
	NetNS     string           `name:"netns" help:"Network namespace to work in, by its name (ip netns) or path." placeholder:"NAME|PATH"`

	Clash clashCmd `cmd:"" help:"Send bursts of packets that all are the first of their flow; account for every one."`
	DNS   dnsCmd   `cmd:"" name:"dns" kin:"resolve,resolver" help:"Resolve names as C libraries do, A and AAAA at once from one socket; tell how long it takes."`
	Flood floodCmd `cmd:"" help:"Send as fast as it goes, or at a rate, over a few flows; measure the sender, latency and loss."`
	Soak  soakCmd  `cmd:"" help:"Send a mix of all sorts of flows for a while; fail on any loss, and on what is held on to."`

	Modload modloadCmd `cmd:"" kin:"modules,modprobe" help:"Have threads need a kernel module at the same moment that is not loaded yet."`
	Procnet procnetCmd `cmd:"" help:"Read, rename and watch the many names of /proc/net at once; find wrong views and hanging threads."`

	ProcnetWork procnetWorkCmd `cmd:"" hidden:""`
	ProcnetHold procnetHoldCmd `cmd:"" hidden:""`

	Compare compareCmd `cmd:"" kin:"diff" help:"Tell what changed from one set of results to another."`
}

// program is what the commands get besides their flags.
type program struct {
	stdout, stderr io.Writer
	kernelLog      string // a file in the place of the kernel log; "" for the log itself
	scenario       string // that runs
}

// AfterApply is called by kong before a scenario's Run.
func (c *commands) AfterApply(p *program, line *kong.Context) error {
	if c.NetNS != "" {
		if err := netlab.Move(c.NetNS); err != nil {
			return err
		}
	}
	p.kernelLog = c.KernelLog
	if command := line.Selected(); command != nil {
		p.scenario = command.Name
	}
	return nil
}

// record is where the result of the scenario goes, with a file of that path.
func (p *program) record(path string) record.Config {
	return record.Config{
		Scenario: p.scenario, Version: version, Command: os.Args, Path: path,
		Stdout: p.stdout, Stderr: p.stderr, KernelLog: p.kernelLog,
	}
}

// outside is true where this process may not make the namespaces that it needs, and has run the program once more as
// root of a user namespace: then there is nothing left to do.
func (p *program) outside(ctx context.Context, makes bool) (bool, error) {
	if !makes {
		return false, nil
	}
	return netlab.Ensure(ctx, "stress", p.stdout, p.stderr)
}

func main() {
	ctx, stop := cli.UntilStopped(context.Background())
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	os.Exit(status)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return cli.Program{
		Name:        "stress",
		Description: "Loads a verdict daemon with traffic that shows its faults.",
		Version:     version,
		Commands:    &commands{},
	}.Run(args, stdout, stderr, clashDefaults(), dnsDefaults(), trafficDefaults(), floodDefaults(), soakDefaults(),
		procnetDefaults(),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(&program{stdout: stdout, stderr: stderr}))
}
