package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"verdictd/daemon/internal/failure"
	"verdictd/daemon/internal/fdstore"
	"verdictd/daemon/internal/service"
	"verdictd/daemon/internal/supervise"
	"verdictd/internal/cli"
	"verdictd/internal/config"
)

type superviseCommand struct {
	Watchdog time.Duration `default:"0s" help:"Replace a daemon that makes no progress for so long. 0: it is not watched."`
	Command  []string      `arg:"" passthrough:"" help:"The daemon's command and flags, such as: -- run --config FILE."`
}

// Run keeps the command running.
func (c *superviseCommand) Run(signals *service.Signals) (err error) {
	log, _ := newLog(&config.Default().Log)
	folder, err := socketFolder()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	store, err := fdstore.Listen(filepath.Join(folder, "notify"), fdstore.DefaultSize)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	args := c.Command
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	status, err := supervise.Run(supervise.Options{
		Program: cli.Itself(), Args: args, Log: log, Store: store, Watchdog: c.Watchdog, Stop: signals.Stop(),
		Failure: func(said string) (supervise.Failure, error) {
			plan, err := failure.Parse(said)
			return supervise.Failure{
				LongestWait: plan.LongestWait,
				Release:     func(sockets []*os.File) error { return failure.Release(plan, sockets, log) },
			}, err
		},
	})
	if err == nil && status != cli.Done {
		err = cli.ExitStatus(status)
	}
	return err
}

// socketFolder makes a folder for the daemon's notifications. A container's root may be read-only.
func socketFolder() (string, error) {
	var errs []error
	for _, parent := range []string{os.TempDir(), "/run", "/dev/shm"} {
		folder, err := os.MkdirTemp(parent, "verdictd-")
		if err == nil {
			return folder, nil
		}
		errs = append(errs, err)
	}
	return "", fmt.Errorf("make a folder for the daemon's notifications: %w", errors.Join(errs...))
}

type releaseCommand struct {
	Config string `placeholder:"FILE" type:"path" help:"The configuration of the daemon that is gone. Without it: as a unit's ExecStopPost=, by what systemd tells."`
}

// Run decides for packets that no daemon judges.
func (c *releaseCommand) Run() error {
	log, _ := newLog(&config.Default().Log)
	if c.Config == "" {
		return failure.AfterUnit(log, failure.Fence)
	}
	cfg, err := (&configFlag{Config: c.Config}).load()
	if err != nil {
		return err
	}
	return failure.Release(service.FailurePlan(cfg), nil, log)
}
