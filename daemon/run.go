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
	return service.Run(ctx, cfg, life())
}

// life is what the services that this program runs have in common.
func life() service.Options {
	return service.Options{Version: version, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
}
