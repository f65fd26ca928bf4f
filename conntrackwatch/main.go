package main

import (
	"context"
	"io"
	"os"
	"strconv"

	"github.com/alecthomas/kong"

	"verdictd/conntrackwatch/internal/trace"
	"verdictd/internal/cli"
)

var version = "devel"

func main() {
	ctx, s, stop := catch(context.Background(), os.Stderr, hasTerminal())
	status := runWith(ctx, s, os.Args[1:], output{os.Stdout, os.Stderr})
	stop()
	os.Exit(status)
}

// output is where results and remarks go.
type output struct {
	results, remarks io.Writer
}

// run is the program without signals.
func run(ctx context.Context, args []string, out output) int {
	return runWith(ctx, &signals{}, args, out)
}

func runWith(ctx context.Context, s *signals, args []string, out output) int {
	var commands struct {
		Version kong.VersionFlag `help:"Print the version and exit."`
		Stats   statsCmd         `cmd:"" kin:"counters,count,statistics" help:"Count what the kernel's conntrack counters rise by. Has no side effects."`
		Events  eventsCmd        `cmd:"" kin:"monitor,listen,watch" help:"Count conntrack events. May make the kernel attach events to entries."`
		Trace   traceCmd         `cmd:"" help:"Show each clash: whose, between which entries, and how it ended. Needs BPF."`
		Live    liveCmd          `cmd:"" kin:"top,view" help:"Show clashes, drops, the table's fill and the queues' backlog as they change. Has no side effects."`
	}
	return cli.Program{
		Name:        "conntrackwatch",
		Description: "Counts what connection tracking does in this network namespace.",
		Version:     version,
		Commands:    &commands,
	}.Run(args, out.results, out.remarks, kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(out), kong.Bind(s),
		kong.Vars{"trace_buffer": strconv.Itoa(trace.DefaultBuffer)})
}
