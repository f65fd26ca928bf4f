package main

import (
	"context"
	"errors"

	"verdictd/internal/report"
)

// benchQueueCmd is `lab bench queue`, and `lab bench` alone.
type benchQueueCmd struct {
	Rounds    int      `help:"Rounds; in each one, every program has its turn. Fewer than 9 tell little on a machine that has other things to do." default:"9"`
	Packets   int      `help:"Packets that are counted in a turn of settled flows." default:"200000"`
	Fresh     int      `help:"The same in a turn of new flows." default:"40000"`
	Window    int      `help:"Packets under way at most." default:"256"`
	Only      []string `sep:"none" help:"Programs to measure, by the names in the table. May be repeated. Default: all." placeholder:"NAME"`
	Reference string   `help:"The C program on libnetfilter_queue to compare with; lab/reference has its source." type:"path" placeholder:"PATH"`
	Require   string   `help:"Fail unless these ratios of medians hold, such as 'mmsg/c<=0.6,mmsg+hold@path/mmsg@path<=1.12'; @path is the CPU time of the whole path, sender and rules included." placeholder:"A/B<=X,..."`
	Bin       string   `help:"Where verdictd, stress and conntrackwatch are. Default: beside this program." type:"path" placeholder:"DIR"`
	JSON      string   `name:"json" help:"Write the result as JSON to FILE; - writes it to stdout, and the table to stderr." placeholder:"FILE"`

	required []requirement
}

// Validate is called by kong.
func (c *benchQueueCmd) Validate() error {
	var err error
	c.required, err = parseRequirements(c.Require, variantFigures())
	return errors.Join(err, knownOnly(c.Only, variantNames()),
		within("--rounds", c.Rounds, 1, 1000), within("--packets", c.Packets, 1000, 100_000_000), within("--fresh", c.Fresh, 1000, 4_000_000), within("--window", c.Window, 1, 4096))
}

// Run is called by kong.
func (c *benchQueueCmd) Run(ctx context.Context, std streams) error {
	t, outside, err := std.prepare(ctx, c.Bin, c.JSON)
	if outside || err != nil {
		return err
	}
	b := bench{
		programs: t.programs, reference: c.Reference, window: c.Window, packets: c.Packets, fresh: c.Fresh,
		loadCPU: t.cpus[0], daemonCPU: t.cpus[min(1, len(t.cpus)-1)],
	}
	result := &benchResult{benchHead: benchHead[report.Host, benchSettings, sample]{
		Schema: benchSchema, Version: version, Host: t.host, Settings: benchSettings{
			Rounds: c.Rounds, Packets: c.Packets, Fresh: c.Fresh, Window: c.Window, Flows: benchFlows, Payload: benchPayload,
			LoadCPU: b.loadCPU, DaemonCPU: b.daemonCPU,
		},
	}}
	missing := leftOut(variantNames(), c.Only, func(i int) error { return b.canRun(&variants[i]) })
	result.Samples, err = rounds(ctx, c.Rounds, variantNames(), missing, std.err, func(i, round int, dir string) sample {
		return b.measure(ctx, &variants[i], round, dir)
	})
	if err != nil {
		return err
	}
	result.Interrupted = ctx.Err() != nil
	result.judge(c.required, missing)
	return std.conclude(c.JSON, result, result.Verdict.OK)
}
