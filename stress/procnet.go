package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/alecthomas/kong"

	"verdictd/internal/cli"
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
func (c *procnetCmd) Run(ctx context.Context, p *program) error {
	cfg := procnet.Config{
		Namespaces: c.Namespaces, Readers: c.Readers, Renamers: c.Renamers, Watchers: c.Watchers, Churners: c.Churners,
		Duration: c.Duration, HangAfter: c.HangAfter, PlantHang: c.PlantHang,
	}
	if err := procnet.Validate(&cfg); err != nil {
		return fmt.Errorf("%w of procnet: %w", cli.ErrUsage, err)
	}
	if outside, err := p.outside(ctx, true); outside || err != nil {
		return err
	}
	executable, err := os.Executable()
	if err != nil {
		return fmt.Errorf("procnet: find this program: %w", err)
	}
	return procnet.Measure(ctx, cfg, []string{executable, workCommand}, p.record(c.JSON))
}

// The commands of the processes that procnet starts.
const (
	workCommand = "procnet-work"
	holdCommand = "procnet-hold"
)

// procnetWorkCmd is the process that does the work, and may be left behind.
type procnetWorkCmd struct{}

// Run is called by kong.
func (*procnetWorkCmd) Run(p *program) error {
	executable, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	return procnet.Work(os.Stdin, p.stdout, []string{executable, holdCommand})
}

// procnetHoldCmd is a process that stays in a namespace.
type procnetHoldCmd struct{}

// Run is called by kong.
func (*procnetHoldCmd) Run() error {
	return procnet.Hold(os.Stdin)
}
