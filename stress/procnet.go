package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kong"

	"verdictd/internal/cli"
	"verdictd/internal/netlab"
	"verdictd/stress/internal/procnet"
)

// procnetCmd holds the flags of `stress procnet`; procnet.Config has their meaning in full.
type procnetCmd struct {
	Namespaces int           `help:"Network namespaces that are made." default:"${procnet_namespaces}"`
	Readers    int           `help:"Threads that check what the names show." default:"${procnet_readers}"`
	Renamers   int           `help:"Threads that try to rename across the names." default:"${procnet_renamers}"`
	Watchers   int           `help:"Threads that set inotify watches." default:"${procnet_watchers}"`
	Churners   int           `help:"Threads that have others come and go." default:"${procnet_churners}"`
	Duration   time.Duration `help:"How long they work." default:"${procnet_duration}"`
	HangAfter  time.Duration `help:"A thread hangs that takes no step for so long." default:"${procnet_hang_after}"`
	PlantHang  bool          `help:"Have one thread wait in the kernel for ever, to see that it is found."`

	JSON string `name:"json" help:"Write the result to a file; - is standard output, instead of the summary." placeholder:"FILE"`
}

// procnetDefaults shows the defaults of procnet.Default in the flags above.
func procnetDefaults() kong.Vars {
	d := procnet.Default()
	return kong.Vars{
		"procnet_namespaces": strconv.Itoa(d.Namespaces),
		"procnet_readers":    strconv.Itoa(d.Readers),
		"procnet_renamers":   strconv.Itoa(d.Renamers),
		"procnet_watchers":   strconv.Itoa(d.Watchers),
		"procnet_churners":   strconv.Itoa(d.Churners),
		"procnet_duration":   d.Duration.String(),
		"procnet_hang_after": d.HangAfter.String(),
	}
}

// Run is called by kong.
func (c *procnetCmd) Run(ctx context.Context, s *streams) error {
	cfg := procnet.Config{
		Namespaces: c.Namespaces, Readers: c.Readers, Renamers: c.Renamers, Watchers: c.Watchers, Churners: c.Churners,
		Duration: c.Duration, HangAfter: c.HangAfter, PlantHang: c.PlantHang,
	}
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("%w of procnet: %w", cli.ErrUsage, err)
	}
	if outside, err := netlab.Ensure(ctx, "stress", s.stdout, s.stderr); outside {
		return err
	}
	executable, err := os.Executable()
	if err != nil {
		return fmt.Errorf("procnet: find this program: %w", err)
	}
	out, err := s.openResult(c.JSON)
	if err != nil {
		return err
	}
	res, err := procnet.Run(ctx, cfg, []string{executable, workCommand}, s.stderr)
	if err != nil {
		err = fmt.Errorf("procnet: %w", err)
	}
	if res == nil {
		return errors.Join(err, out.close())
	}
	if res.Interrupted {
		err = errors.Join(err, fmt.Errorf("procnet: interrupted after %.1f s", res.Seconds))
	}
	if found := res.Failed(); found != nil {
		err = errors.Join(err, fmt.Errorf("procnet: %w", found))
	}
	return errors.Join(err, out.write("procnet", res, func(w io.Writer) error { return summarizeProcnet(w, res) }))
}

// The commands of the processes that procnet starts.
const (
	workCommand = "procnet-work"
	holdCommand = "procnet-hold"
)

// procnetWorkCmd is the process that does the work, and may be left behind.
type procnetWorkCmd struct{}

// Run is called by kong.
func (*procnetWorkCmd) Run(s *streams) error {
	executable, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	return procnet.Work(os.Stdin, s.stdout, []string{executable, holdCommand})
}

// procnetHoldCmd is a process that stays in a namespace.
type procnetHoldCmd struct{}

// Run is called by kong.
func (*procnetHoldCmd) Run() error {
	return procnet.Hold(os.Stdin)
}

// summarizeProcnet writes what a person wants to know first.
func summarizeProcnet(w io.Writer, res *procnet.Result) error {
	c := &res.Config
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(t, name+"\t"+format+"\n", args...) }
	row("procnet", "%d namespaces, %d readers, %d renamers, %d watchers, %d churners, %.1f s",
		c.Namespaces, c.Readers, c.Renamers, c.Watchers, c.Churners, res.Seconds)
	for _, kind := range slices.Sorted(maps.Keys(res.Views)) {
		row("view", "%s read %d times", kind, res.Views[kind])
	}
	row("wrong", "%d readings showed another namespace's, %s", res.WrongViews, orNone("could not be read", res.ReadErrors))
	for _, wrong := range res.Wrong {
		row("", "%s: %s", wrong.Path, wrong.Why)
	}
	reached := "the kernel took the directories' locks for them"
	if !res.LocksReached {
		reached = "none came to the directories' locks: is /proc mounted read-only?"
	}
	if c.Renamers > 0 {
		row("renames", "%s; %s", orNone("attempts", res.Renames), reached)
	}
	row("watches", "%d set; %d threads came and went", res.Watches, res.Threads)
	row("hangs", "%d threads took no step for %v", len(res.Hangs), c.HangAfter)
	for _, h := range res.Hangs {
		row("", "thread %d (%s), for %.1f s, state %s, in %s: %s", h.Thread, h.Role, h.For, h.State, h.Wchan, h.Doing)
		for _, frame := range h.Stack {
			row("", "  %s", frame)
		}
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	return nil
}

func orNone(what string, counts map[string]uint64) string {
	if len(counts) == 0 {
		return "none " + what
	}
	return what + ": " + errnos(counts)
}
