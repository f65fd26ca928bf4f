package main

import (
	"log/slog"
	"os"

	"verdictd/daemon/internal/service"
)

type runCommand struct {
	configFlag
	socketFlag
}

// Run is the service.
func (c *runCommand) Run(signals *service.Signals) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	return service.Run(signals.Stop(), cfg, service.Options{
		Version: version, Log: newLog(), Confine: true, File: c.Config, Socket: c.Socket, Signals: signals,
	})
}

// newLog is that of the services.
func newLog() *slog.Logger { return slog.New(slog.NewTextHandler(os.Stderr, nil)) }
