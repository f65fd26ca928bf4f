package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"verdictd/internal/cli"
	"verdictd/internal/modules"
	"verdictd/stress/internal/modrace"
)

// modloadCmd holds the flags of `stress modload`.
type modloadCmd struct {
	Protocol  string           `help:"A protocol of netlink, by name or number: each thread opens a socket of it." xor:"part" required:"" placeholder:"xfrm|NUMBER"`
	Subsystem string           `help:"A subsystem of nfnetlink: each thread sends it a request." xor:"part" required:"" placeholder:"queue|ctnetlink|log|nftables"`
	Module    string           `help:"The module behind it, where the index of modules does not tell." placeholder:"NAME"`
	Threads   int              `help:"Threads that ask at the same moment." default:"8"`
	Rounds    int              `help:"How often the module is unloaded, and asked for again." default:"100"`
	Strategy  modrace.Strategy `help:"naive: the threads go as they are; modules-first: the module is brought in before, as verdictd does." enum:"naive,modules-first" default:"naive"`
	Timeout   time.Duration    `help:"Bound of the whole run." default:"10m"`

	JSON string `name:"json" help:"Write the result to a file; - is standard output, instead of the summary." placeholder:"FILE"`
}

func (c *modloadCmd) part() (modules.Part, error) {
	if c.Subsystem != "" {
		return modules.SubsystemPart(c.Subsystem)
	}
	return modules.ProtocolPart(c.Protocol)
}

// Run is called by kong.
func (c *modloadCmd) Run(ctx context.Context, p *program) error {
	part, err := c.part()
	cfg := modrace.Config{Threads: c.Threads, Rounds: c.Rounds, Strategy: c.Strategy}
	if err = errors.Join(err, cfg.Validate()); err != nil {
		return fmt.Errorf("%w of modload: %w", cli.ErrUsage, err)
	}
	return modrace.Measure(ctx, part, c.Module, cfg, c.Timeout, p.record(c.JSON))
}
