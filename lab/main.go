package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

var version = "devel"

// Exit statuses.
const (
	exitDone   = 0
	exitFailed = 1 // a run failed or was interrupted, or did not do what its row promises
	exitUsage  = 2
)

// errReported ends a command with exitFailed when its report has said why.
var errReported = errors.New("the report says what failed")

// streams is where results and remarks go.
type streams struct {
	out, err io.Writer
}

func main() {
	// The signals stay caught until the end: Ctrl-C reaches the lab twice where it runs in a user namespace, once from
	// the terminal and once from the process outside, and the second one must not cut the cleaning up short.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	status := run(ctx, os.Args[1:], streams{os.Stdout, os.Stderr})
	stop()
	os.Exit(status)
}

func run(ctx context.Context, args []string, std streams) int {
	var cli struct {
		Version kong.VersionFlag `help:"Print the version and exit."`
		Matrix  matrixCmd        `cmd:"" help:"Count clashes and losses over queue placements, guards, fan-outs, backends and families."`
		Bench   benchCmd         `cmd:"" help:"Compare what a packet costs the daemons, in CPU time."`
		Soak    soakCmd          `cmd:"" help:"Guard a mix of all sorts of flows for a while, in every placement; nothing may clash, get lost or be reordered."`
	}
	parser, err := kong.New(&cli,
		kong.Name("lab"),
		kong.Description("Runs verdictd, stress and conntrackwatch together in network namespaces of their own and reports what happened. Needs no root where user namespaces are allowed."),
		kong.Vars{"version": "lab " + version},
		kong.Writers(std.out, std.err),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(std),
	)
	if err != nil {
		fmt.Fprintln(std.err, "lab:", err)
		return exitUsage
	}
	command, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintln(std.err, "lab:", err)
		return exitUsage
	}
	switch err := command.Run(); {
	case errors.Is(err, errReported):
		return exitFailed
	case err != nil:
		fmt.Fprintln(std.err, "lab:", err)
		return exitFailed
	}
	return exitDone
}
