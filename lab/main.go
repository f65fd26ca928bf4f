package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/alecthomas/kong"

	"verdictd/internal/cli"
	"verdictd/lab/internal/oldmodprobe"
)

var version = "devel"

func main() {
	if filepath.Base(os.Args[0]) == "modprobe" { // in a virtual machine of lab kernel modload
		os.Exit(oldmodprobe.Main(os.Args[1:], os.Stdout, os.Stderr))
	}
	// The signals stay caught until the end: a second one must not cut the cleaning up short.
	ctx, stop := cli.UntilStopped(context.Background())
	status := run(ctx, os.Args[1:], streams{os.Stdout, os.Stderr})
	stop()
	os.Exit(status)
}

func run(ctx context.Context, args []string, std streams) int {
	var commands struct {
		Version   kong.VersionFlag `help:"Print the version and exit."`
		Matrix    matrixCmd        `cmd:"" help:"Count clashes and losses over queue placements, guards, fan-outs, backends and families."`
		Bench     benchCmd         `cmd:"" help:"Compare the programs with what others use for the same, round by round in one run."`
		Soak      soakCmd          `cmd:"" help:"Guard a mix of all sorts of flows for a while, in every placement; nothing may clash, get lost or be reordered."`
		Faults    faultsCmd        `cmd:"" help:"Have faults happen to the program that judges, while packets go through a router; what is not inherent to a fault must be 0."`
		DNS       dnsCmd           `cmd:"" name:"dns" help:"Show what resolvers notice: name resolution without a queue, with one, and under each guard."`
		Facts     factsCmd         `cmd:"" help:"Hold the table of kernel faults against the changelogs of Debian's kernels."`
		Reference referenceCmd     `cmd:"" hidden:"" help:"A program on go-nfqueue that accepts everything."`
		Kernel    kernelCmd        `cmd:"" help:"Boot kernels in virtual machines and run things in them."`
	}
	return cli.Program{
		Name: "lab",
		Description: "Runs verdictd, stress and conntrackwatch together in network namespaces of their own and " +
			"reports what happened. Needs no root where user namespaces are allowed.",
		Version:  version,
		Commands: &commands,
	}.Run(args, std.out, std.err, kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(std))
}
