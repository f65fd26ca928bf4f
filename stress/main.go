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
	exitFailed = 1 // the run failed, was cut short, or found what --fail-on-... asks for
	exitUsage  = 2
)

// errUsage marks what the caller can mend on the command line.
var errUsage = errors.New("wrong usage")

type cli struct {
	Version kong.VersionFlag `help:"Print the version and exit."`

	Clash clashCmd `cmd:"" help:"Send bursts of packets that all are the first of their flow; account for every one."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	os.Exit(status)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	err := parseAndRun(ctx, args, stdout, stderr)
	if err == nil {
		return exitDone
	}
	fmt.Fprintf(stderr, "stress: %v\n", err)
	if errors.Is(err, errUsage) {
		return exitUsage
	}
	return exitFailed
}

func parseAndRun(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var c cli
	exited := false
	parser, err := kong.New(&c,
		kong.Name("stress"),
		kong.Description("Loads a verdict daemon with traffic that shows its faults."),
		kong.Vars{"version": version},
		clashDefaults(),
		kong.Writers(stdout, stderr),
		kong.Exit(func(int) { exited = true }), // after --help and --version
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(&streams{stdout, stderr}),
	)
	if err != nil {
		return fmt.Errorf("command line definition: %w", err)
	}
	command, err := parser.Parse(args)
	switch {
	case exited:
		return nil
	case err != nil:
		return fmt.Errorf("%w: %w (stress --help shows the flags)", errUsage, err)
	}
	return command.Run()
}
