package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"verdictd/conntrackwatch/internal/stats"
)

type statsCmd struct {
	window
	places
	metrics
	Interval time.Duration `help:"Print a sample every so long, e.g. 1s: what the counters rose by since the last one. With --json one object a line. Without it: one result at the end."`
	Once     bool          `help:"Print what was counted since the namespace was made, and end." not:"interval,duration,listen"`
	PerCPU   bool          `name:"per-cpu" help:"Give every CPU that counted something rows of its own. JSON always has them."`
	All      bool          `help:"Give CPUs that counted nothing rows, too; implies --per-cpu."`
}

// Help is called by kong.
func (s *statsCmd) Help() string {
	return "Reads the kernel's per-CPU counters and says beside each what it counts on the running kernel. It never subscribes to events: where" +
		" nf_conntrack_events is 2, the default since Linux 5.19, the kernel attaches events to entries only while somebody listens, and on a" +
		" kernel without the fix of CVE-2022-49561 delivering them after a clash is what crashes. A listener takes part in the exposure; stats does not."
}

// Validate is called by kong.
func (s *statsCmd) Validate() error {
	return checkInterval(s.Interval)
}

// Run is called by kong.
func (s *statsCmd) Run(ctx context.Context, asked *signals, out output) (err error) {
	ctx, cancel := s.context(ctx)
	defer cancel()
	set, err := s.open(out.remarks)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	c := &counting{statsCmd: s, set: set, out: out, options: stats.Options{
		Version: version, Interval: s.Interval > 0, Once: s.Once, Named: s.named(), PerCPU: s.PerCPU || s.All, All: s.All,
	}}
	if err := c.begin(); err != nil {
		return err
	}
	if s.Once {
		for _, one := range c.all {
			if err := s.print(out, one.Once()); err != nil {
				return err
			}
		}
		return nil
	}
	stop, err := s.serve(set, out.remarks)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := ready(); err != nil {
		return err
	}
	if err := c.run(ctx, asked.write); err != nil {
		return err
	}
	for _, one := range c.all {
		if err := c.last(one); err != nil {
			return err
		}
	}
	return nil
}

// printLine writes a result as one line of JSON.
func printLine(out output, result any) error {
	if err := json.NewEncoder(out.results).Encode(result); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}
