package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// version is set by the linker.
var version = "devel"

// cli are the commands; each has a Run method of its own.
type cli struct {
	Run     runCommand       `cmd:"" help:"Give verdicts until told to stop (SIGTERM or SIGINT)."`
	Check   checkCommand     `cmd:"" help:"Check a configuration and list every problem."`
	Rules   rulesCommand     `cmd:"" help:"Install, remove or show the rules that feed the queues."`
	Audit   auditCommand     `cmd:"" help:"Say whether packets can clash on this machine, what its kernel does then, and what to do about it."`
	Version kong.VersionFlag `help:"Print the version."`
}

// errConfig marks what the caller has to mend in the configuration.
var errConfig = errors.New("configuration")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(execute(ctx, os.Args[1:]))
}

func execute(ctx context.Context, args []string) (status int) {
	var c cli
	parser := kong.Must(&c, kong.Name("verdictd"), kong.Description("NFQUEUE verdicts without conntrack clashes."),
		kong.Vars{"version": version}, kong.BindTo(ctx, (*context.Context)(nil)))
	command, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "verdictd: %v; see verdictd --help\n", err)
		return 2
	}
	switch err := command.Run(); {
	case err == nil:
		return 0
	case errors.Is(err, errConfig):
		fmt.Fprintln(os.Stderr, err)
		return 2
	default:
		fmt.Fprintln(os.Stderr, "verdictd:", err)
		return 1
	}
}
