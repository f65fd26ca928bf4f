package main

import (
	"context"
	"errors"
	"io"
	"time"

	"verdictd/lab/internal/bench"
	"verdictd/lab/internal/faults"
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
	HTML      string        `name:"html" type:"page" help:"Write the result as a page with plots to FILE." placeholder:"FILE"`
}

func (c *soakCmd) config() *soak.Config {
	return &soak.Config{Duration: c.Duration, Seed: c.Seed, Guard: c.Guard, Program: c.Program, Reference: c.Reference,
		Only: c.Only}
}

// Validate is called by kong.
func (c *soakCmd) Validate() error { return c.config().Validate() }

// Run is called by kong.
func (c *soakCmd) Run(ctx context.Context, std streams) error {
	t, outside, err := std.prepare(ctx, c.Bin, c.JSON, c.HTML)
	if outside || err != nil {
		return err
	}
	result, err := soak.Run(ctx, t, c.config(), std.err)
	if err != nil {
		return err
	}
	page := func(w io.Writer) error {
		return bench.WritePage(w, "A soak of the guard", soak.Page{Result: result}, (*bench.Verdict)(&result.Verdict))
	}
	return errors.Join(writePage(c.HTML, page), std.conclude(ctx, c.JSON, result, result.Verdict.OK, c.HTML))
}

// defaultFaults is how long faults happen where nothing says otherwise.
const defaultFaults = 2 * time.Minute

// faultsCmd is `lab faults`.
type faultsCmd struct {
	Duration  time.Duration  `help:"How long faults happen to each program. Default: 2m, or as long as the --plan takes." placeholder:"TIME"`
	Seed      uint64         `help:"What the faults, their order and their settings are drawn from; 0: draw one." default:"0"`
	Rate      int            `help:"Packets a second; one of five is for the policy to drop." default:"5000"`
	Only      []string       `help:"Only these kinds of faults. May be repeated." placeholder:"FAULT"`
	Plan      map[string]int `help:"So many faults of each kind, in a drawn order, instead of all kinds in turn: reload=100;restart=20;kill=20." placeholder:"FAULT=N;..."`
	Guard     string         `help:"The guard." enum:"hold,off" default:"hold"`
	Settled   bool           `help:"Have flows that go on sending pass in the kernel (guard.settled): a packet may then overtake in the moment in which its flow is listed, and the lab fails."`
	Program   []string       `help:"Who gives the verdicts: verdictd, and behind it what is to be compared with it under the same faults, without a guard and a keeper." enum:"verdictd,libnetfilter_queue" default:"verdictd"`
	Keeper    bool           `help:"Have verdictd supervise hold what verdictd leaves; without it the lab starts the program once more." default:"true" negatable:""`
	Reference string         `help:"The program on libnetfilter_queue. Default: nfq_reference beside the programs." type:"path" placeholder:"PATH"`
	Bin       string         `help:"Where verdictd, stress and conntrackwatch are. Default: beside this program." type:"path" placeholder:"DIR"`
	JSON      string         `name:"json" help:"Write the result as JSON to FILE; - writes it to stdout, and the summary to stderr." placeholder:"FILE"`
}

func (c *faultsCmd) config() *faults.Config {
	duration := c.Duration
	if duration == 0 && len(c.Plan) == 0 {
		duration = defaultFaults
	}
	return &faults.Config{
		Duration: duration, Seed: c.Seed, Rate: c.Rate, Only: c.Only, Plan: c.Plan, Guard: c.Guard, Settled: c.Settled,
		Programs: c.Program,
		Keeper:   c.Keeper, Reference: c.Reference,
	}
}

// Validate is called by kong.
func (c *faultsCmd) Validate() error {
	return c.config().Validate()
}

// Run is called by kong.
func (c *faultsCmd) Run(ctx context.Context, std streams) error {
	t, outside, err := std.prepare(ctx, c.Bin, c.JSON)
	if outside || err != nil {
		return err
	}
	result, err := faults.Run(ctx, t, c.config(), std.err)
	if err != nil {
		return err
	}
	return std.conclude(ctx, c.JSON, result, result.Verdict.OK)
}
