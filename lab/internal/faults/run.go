package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"verdictd/internal/cli"
	"verdictd/internal/crash"
	"verdictd/internal/netlab"
	"verdictd/internal/report"
	"verdictd/internal/traffic"
	"verdictd/lab/internal/testbed"
)

// Run plays the sequence with one program after the other, with its progress on w.
func Run(ctx context.Context, t *testbed.Testbed, c *Config, w io.Writer) (*Result, error) {
	settled := *c
	settled.Seed = traffic.ChooseSeed(c.Seed)
	if missing := missing(); len(missing) > 0 {
		return nil, fmt.Errorf("no %s: the faults are made with them", strings.Join(missing, ", no "))
	}
	for _, p := range c.Programs {
		if p == report.ProgramVerdictd {
			continue
		}
		var err error
		if settled.Reference, err = t.FindReference(c.Reference); err != nil {
			return nil, err
		}
	}
	result := &Result{
		Schema: Schema, Version: t.Version, Host: t.Host, Seed: settled.Seed, Rate: c.Rate, Guard: c.Guard,
		Settled:  c.Settled,
		Programs: []*Played{}, Kinds: meanings(),
	}
	fmt.Fprintf(w, "lab: seed %d\n", settled.Seed)
	err := testbed.WithFiles(func(dir string) {
		for _, program := range c.Programs {
			if ctx.Err() != nil {
				break
			}
			p := &Played{
				Program: program, Guard: report.GuardOff, Faults: []Fault{}, Between: Fault{Kind: "none"},
				Kinds: []Sum{}, Violations: []string{},
			}
			if program == report.ProgramVerdictd {
				p.Guard, p.Keeper = c.Guard, c.Keeper
			}
			p.play(ctx, t, &settled, filepath.Join(dir, program), w)
			p.judge(t.Host.Tainted)
			result.Programs = append(result.Programs, p)
		}
	})
	result.Interrupted = ctx.Err() != nil
	result.judge()
	return result, err
}

// play plays the sequence with one program.
func (p *Played) play(ctx context.Context, t *testbed.Testbed, c *Config, dir string, w io.Writer) {
	if err := p.try(ctx, t, c, dir, w); err != nil && ctx.Err() == nil {
		p.Error = err.Error()
	}
}

func (p *Played) try(ctx context.Context, t *testbed.Testbed, c *Config, dir string, w io.Writer) (err error) {
	top, err := netlab.NewTopology(netlab.Routed, netlab.Families()[0])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, top.Close()) }()
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("make a directory for the programs' files: %w", err)
	}
	g := testbed.NewGroup(ctx, dir)
	defer g.Close()
	n := &nemesis{ctx: ctx, top: top, subject: &subject{
		Programs: t.Programs, program: p.Program, reference: c.Reference, keeper: p.Keeper, guard: p.Guard,
		settled: c.Settled,
		group:   g, ns: top.Queue,
	}}
	if p.Program != report.ProgramVerdictd {
		n.tables = func() error { return testbed.QueueRules(top.Queue, n.subject.config()) }
	}
	if err := n.subject.start(); err != nil {
		return err
	}
	if n.tables != nil {
		if err := n.tables(); err != nil {
			return err
		}
	}
	if n.load, err = startLoad(top, c.Rate); err != nil {
		return err
	}
	if err := n.recovered(0); err != nil {
		_, stopped := n.load.stop()
		return errors.Join(err, stopped)
	}
	before, err := n.count()
	if err == nil {
		p.suffer(n, c, w)
		p.Seconds = n.load.now().Seconds()
	}
	events, stopped := n.load.stop()
	after, counted := n.count()
	p.take(n.load, events, &before, &after)
	var ended error
	if ctx.Err() == nil {
		ended = n.subject.stop()
	}
	p.Tainted, err = crash.Taint()
	return errors.Join(err, stopped, counted, ended)
}

// suffer has the faults happen.
func (p *Played) suffer(n *nemesis, c *Config, w io.Writer) {
	end := time.Now().Add(c.Duration)
	shown := cli.NewProgress(w)
	defer shown.End()
	shown.Takes(c.Duration)
	planned := 0
	for _, n := range c.Plan {
		planned += n
	}
	c.sequence()(func(s step) bool {
		n.sleep(s.pause)
		if n.ctx.Err() != nil || c.Duration > 0 && time.Now().After(end) {
			return false
		}
		switch done := len(p.Faults) + 1; {
		case planned > 0:
			shown.Step(done, planned, "%s", p.Program)
		default:
			shown.Part(0, "%s: fault %d", p.Program, done)
		}
		f := n.suffer(s)
		p.Faults = append(p.Faults, f)
		shown.Say("%s: %s", p.Program, f.line())
		return n.ctx.Err() == nil
	})
	n.sleep(pauseLeast)
}
