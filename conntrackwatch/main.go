package main

import (
	"context"
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
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], output{os.Stdout, os.Stderr})
	stop()
	os.Exit(status)
}

// output is where results and remarks go.
type output struct {
	results, remarks io.Writer
}

func run(ctx context.Context, args []string, out output) int {
	var cli struct {
		Version kong.VersionFlag `help:"Print the version and exit."`
		Stats   statsCmd         `cmd:"" help:"Count what the kernel's conntrack counters rise by. Has no side effects."`
		Events  eventsCmd        `cmd:"" help:"Count conntrack events. May make the kernel attach events to entries."`
	}
	command, err := kong.Must(&cli,
		kong.Name("conntrackwatch"),
		kong.Description("Counts what connection tracking does in this network namespace."),
		kong.Vars{"version": "conntrackwatch " + version},
		kong.Writers(out.results, out.remarks),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(out),
	).Parse(args)
	if err != nil {
		fmt.Fprintf(out.remarks, "conntrackwatch: %v (see conntrackwatch --help)\n", err)
		return exitUsage
	}
	if err := command.Run(); err != nil {
		fmt.Fprintf(out.remarks, "conntrackwatch: %v\n", err)
		return exitFailed
	}
	return exitDone
}
