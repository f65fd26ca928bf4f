package main

import (
	"errors"
	"io/fs"

	"verdictd/daemon/internal/service"
	"verdictd/internal/config"
)

type guardCommand struct {
	socketFlag
	Config string       `placeholder:"FILE" type:"path" help:"Configuration (YAML), of which the sections guard, statistics and control count. Without it: /etc/verdictd/guard.yaml, or where that is not, the defaults."`
	Queue  []queueRange `placeholder:"N[-M]" help:"Guard these queues only. Without it: all that make clashes possible."`
}

// Run is the gate alone.
func (c *guardCommand) Run(signals *service.Signals) error {
	file := c.Config
	if file == "" {
		file = config.DefaultGuardFile
	}
	cfg := config.Default()
	read, err := (&configFlag{Config: file}).loadFile()
	switch {
	case err == nil:
		cfg = read.Config
	case c.Config != "" || !errors.Is(err, fs.ErrNotExist):
		return err
	}
	log, level := newLog(&cfg.Log)
	err = service.RunGuard(signals.Stop(), cfg, ranges(c.Queue), service.Options{
		Version: version, Log: log, Level: level, Confine: true, File: file, Socket: c.Socket, Signals: signals,
	})
	return placed(read, err)
}
