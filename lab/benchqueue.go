package main

import (
	"context"
	"errors"
	"io"

	"verdictd/internal/report"
)

// queueBenchConfig says which programs are compared, and how long.
type queueBenchConfig struct {
	Rounds  int
	Packets int // that are counted in a turn of settled flows
	Fresh   int // the same in a turn of new flows
	Window  int // packets under way at most
	// Only are names of variants, all without any. Reference is the C program. Require are bounds on ratios, see
	// parseRequirements.
	Only      []string
	Reference string
	Require   string
}

// Validate says all that is wrong.
func (c *queueBenchConfig) Validate() error {
	_, err := parseRequirements(c.Require, variantFigures())
	return errors.Join(err, knownOnly(c.Only, variantNames()),
		within("--rounds", c.Rounds, 1, 1000), within("--packets", c.Packets, 1000, 100_000_000),
		within("--fresh", c.Fresh, 1000, 4_000_000), within("--window", c.Window, 1, 4096))
}

// runQueueBench gives every variant its turn in every round, with its progress on w.
func runQueueBench(ctx context.Context, t *testbed, c *queueBenchConfig, w io.Writer) (*benchResult, error) {
	required, err := parseRequirements(c.Require, variantFigures())
	if err != nil {
		return nil, err
	}
	b := bench{
		programs: t.programs, reference: c.Reference, window: c.Window, packets: c.Packets, fresh: c.Fresh,
		loadCPU: t.cpus[0], daemonCPU: t.cpus[min(1, len(t.cpus)-1)],
	}
	result := &benchResult{benchHead: benchHead[report.Host, benchSettings, sample]{
		Schema: benchSchema, Version: t.version, Host: t.host, Settings: benchSettings{
			Rounds: c.Rounds, Packets: c.Packets, Fresh: c.Fresh, Window: c.Window, Flows: benchFlows, Payload: benchPayload,
			LoadCPU: b.loadCPU, DaemonCPU: b.daemonCPU,
		},
	}}
	missing := leftOut(variantNames(), c.Only, func(i int) error { return b.canRun(&variants[i]) })
	result.Samples, err = rounds(ctx, c.Rounds, variantNames(), missing, w, func(i, round int, dir string) sample {
		return b.measure(ctx, &variants[i], round, dir)
	})
	if err != nil {
		return nil, err
	}
	result.Interrupted = ctx.Err() != nil
	result.judge(required, missing)
	return result, nil
}
