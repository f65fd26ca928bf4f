package main

import (
	"context"
	"errors"
	"time"

	"verdictd/conntrackwatch/internal/live"
	"verdictd/conntrackwatch/internal/observe"
	"verdictd/internal/cli"
)

// liveCmd is `conntrackwatch live`.
type liveCmd struct {
	places
	metrics
	Interval time.Duration `help:"Time between readings." default:"1s"`
	Duration time.Duration `help:"Watch for so long. Without it: until q, SIGINT or SIGTERM."`
	Events   bool          `help:"Listen to conntrack events, too, to see whether they get lost. May make the kernel attach events to entries."`
	JSON     bool          `name:"json" help:"Print one object a line for each reading of a namespace."`
	Plain    bool          `help:"Print lines on a terminal, too." not:"json"`
}

// Help is called by kong.
func (l *liveCmd) Help() string {
	return "On a terminal, a view that is redrawn each interval; elsewhere a line for each namespace and interval, with columns as wide as" +
		" their heads, so that it can be cut. It reads counters and does not subscribe to events unless --events says so: a listener takes part in the exposure, see stats."
}

// Validate is called by kong.
func (l *liveCmd) Validate() error {
	if l.Interval == 0 {
		return errors.New("--interval 0: leave it out, or give the time between readings")
	}
	return checkInterval(l.Interval)
}

// Run is called by kong.
func (l *liveCmd) Run(ctx context.Context, out output) (err error) {
	if l.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, l.Duration)
		defer cancel()
	}
	set, err := l.open(out.remarks)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	if l.Events {
		leave, err := observe.Listen(ctx, set, l.Interval, out.remarks)
		if err != nil {
			return err
		}
		defer leave()
	}
	stop, err := l.serve(set, out.remarks)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	all, err := live.Watch(set)
	if err != nil {
		return err
	}
	if err := ready(); err != nil {
		return err
	}
	if cli.IsScreen(out.results) && !l.JSON && !l.Plain {
		return live.View(ctx, all, l.Interval, out.results)
	}
	return live.Lines(ctx, all, l.Interval, l.JSON, out.results, out.remarks)
}
