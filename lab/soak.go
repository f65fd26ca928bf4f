package main

import (
	"context"
	"time"

	"verdictd/lab/internal/soak"
)

// soakCmd is `lab soak`.
type soakCmd struct {
	Duration  time.Duration `help:"How long flows are sent in all; each place has an equal share." default:"2m"`
	Seed      uint64        `help:"What the flows and the daemon's settings are drawn from; 0: draw one." default:"0"`
	Guard     string        `help:"The guard; off shows what it is there for, and fails." enum:"hold,off" default:"hold"`
	Program   string        `help:"Who gives the verdicts; the others than verdictd know nothing of it, and verdictd guard stands before them." enum:"verdictd,libnetfilter_queue,go-nfqueue" default:"verdictd"`
	Reference string        `help:"The program on libnetfilter_queue. Default: nfq_reference beside the programs." type:"path" placeholder:"PATH"`
	Only      []string      `help:"Run only these places, such as verdict3/cpu, with the flows that they have in a full soak of that length. May be repeated." placeholder:"PLACEMENT/FANOUT"`
	Bin       string        `help:"Where verdictd, stress and conntrackwatch are. Default: beside this program." type:"path" placeholder:"DIR"`
	JSON      string        `name:"json" help:"Write the result as JSON to FILE; - writes it to stdout, and the summary to stderr." placeholder:"FILE"`
}

func (c *soakCmd) config() *soak.Config {
	return &soak.Config{Duration: c.Duration, Seed: c.Seed, Guard: c.Guard, Program: c.Program, Reference: c.Reference,
		Only: c.Only}
}

// Validate is called by kong.
func (c *soakCmd) Validate() error { return c.config().Validate() }

// Run is called by kong.
func (c *soakCmd) Run(ctx context.Context, std streams) error {
	t, outside, err := std.prepare(ctx, c.Bin, c.JSON)
	if outside || err != nil {
		return err
	}
	result, err := soak.Run(ctx, t, c.config(), std.err)
	if err != nil {
		return err
	}
	return std.conclude(c.JSON, result, result.Verdict.OK)
}
