package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"verdictd/daemon/internal/control"
	"verdictd/daemon/internal/top"
	"verdictd/internal/cli"
)

type topCommand struct {
	askFlags
	Interval time.Duration `default:"1s" placeholder:"TIME" help:"Time between readings. Default: ${default}."`
	Once     bool          `help:"Print what happens within one interval, and end, as where the output is no terminal."`
}

// Help is called by kong.
func (c *topCommand) Help() string {
	return "On a terminal, a view that is redrawn each interval, with ? for help; elsewhere one page of text, of what happens within one interval." +
		" Rates are a second. `verdictd status --json` has the counters for programs."
}

// Validate is called by kong.
func (c *topCommand) Validate() error {
	const least = 100 * time.Millisecond
	if c.Interval < least {
		return fmt.Errorf("--interval %v: want %v or more", c.Interval, least)
	}
	return nil
}

// Run shows the daemon until it is told to end.
func (c *topCommand) Run(ctx context.Context) error {
	return c.ask(func(client *control.Client) error {
		screen, err := top.New(ctx, client)
		if err != nil {
			return err
		}
		if !c.Once && cli.IsScreen(os.Stdout) {
			return cli.View(ctx, screen, c.Interval, os.Stdout)
		}
		if err := screen.Once(ctx, c.Interval); err != nil {
			if errors.Is(err, control.ErrNoDaemon) {
				return errors.New("the daemon has ended meanwhile")
			}
			return err
		}
		_, err = os.Stdout.WriteString(cli.Frame(screen, cli.Columns(os.Stdout)))
		return err
	})
}
