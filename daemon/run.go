package main

import (
	"context"
	"log/slog"
	"os"

	"verdictd/daemon/internal/service"
)

type runCommand struct{ configFlag }

// Run is the service.
func (c *runCommand) Run(ctx context.Context) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	return service.Run(ctx, cfg, life(c.Config))
}

// life is what the services that this program runs have in common.
func life(file string) service.Options {
	return service.Options{Version: version, Log: newLog(), Confine: true, File: file}
}

func newLog() *slog.Logger { return slog.New(slog.NewTextHandler(os.Stderr, nil)) }
