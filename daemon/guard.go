package main

import (
	"context"

	"verdictd/daemon/internal/service"
	"verdictd/internal/config"
)

type guardCommand struct {
	Config string       `placeholder:"FILE" type:"path" help:"Configuration (YAML), of which the section guard counts, and statistics.file. Without it: the defaults."`
	Queue  []queueRange `placeholder:"N[-M]" help:"Guard these queues only. Without it: all that make clashes possible."`
}

// Run is the gate alone.
func (c *guardCommand) Run(ctx context.Context) error {
	cfg := config.Default()
	if c.Config != "" {
		var err error
		if cfg, err = (&configFlag{Config: c.Config}).load(); err != nil {
			return err
		}
	}
	return service.RunGuard(ctx, cfg, ranges(c.Queue), life(c.Config))
}
