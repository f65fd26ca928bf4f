package soak

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"verdictd/internal/cli"
	"verdictd/internal/report"
	"verdictd/internal/traffic"
	"verdictd/lab/internal/testbed"
)

// Config says what is guarded, and for how long.
type Config struct {
	Duration  time.Duration // of all sending; each place has an equal share
	Seed      uint64        // what flows and the daemon's settings are drawn from; 0: draw one
	Guard     string        // of report's names
	Program   string        // likewise: who gives the verdicts
	Reference string        // the C program, "" for the one beside the programs
	Only      []string      // places such as verdict3/cpu, all without any
}

// A place is where the daemon stands for a share of the soak. Forward is a masquerading router.
type place struct{ placement, fanout string }

func (p place) String() string { return p.placement + "/" + p.fanout }

// places are those with a promise of order, numgen being without.
func places() []place {
	var all []place
	for _, f := range []string{report.FanoutBalance, report.FanoutCPU} {
		for _, p := range []string{report.PlacementOutput, report.PlacementPostrouting, report.PlacementInput,
			report.PlacementForward, report.PlacementVerdict3} {
			all = append(all, place{p, f})
		}
	}
	return all
}

// minShare is the shortest share in which anything can be seen.
const minShare = 500 * time.Millisecond

// Validate says all that is wrong.
func (c *Config) Validate() error {
	var errs []error
	all := places()
	for _, name := range c.Only {
		if !slices.ContainsFunc(all, func(p place) bool { return p.String() == name }) {
			errs = append(errs, fmt.Errorf("--only %s: there is no such place; there are %s", name,
				strings.Trim(fmt.Sprint(all), "[]")))
		}
	}
	if least := time.Duration(len(all)) * minShare; c.Duration < least || c.Duration > 24*time.Hour {
		errs = append(errs, fmt.Errorf("--duration %v is not within %v to 24h", c.Duration, least))
	}
	return errors.Join(errs...)
}

// Run goes from place to place, with its progress on w.
func Run(ctx context.Context, t *testbed.Testbed, c *Config, w io.Writer) (*Result, error) {
	settled := *c
	settled.Seed = traffic.ChooseSeed(c.Seed)
	if c.Program == report.ProgramLibrary {
		var err error
		if settled.Reference, err = t.FindReference(c.Reference); err != nil {
			return nil, err
		}
	}
	result := &Result{
		Schema: Schema, Version: t.Version, Host: t.Host, Seed: settled.Seed, Duration: c.Duration.String(),
		Guard: c.Guard, Program: c.Program,
		Shares: []Share{},
	}
	fmt.Fprintf(w, "lab: seed %d\n", settled.Seed)
	if err := settled.shares(ctx, t, result, w); err != nil {
		return nil, err
	}
	result.Interrupted = ctx.Err() != nil
	result.judge()
	return result, nil
}

func (c *Config) shares(ctx context.Context, t *testbed.Testbed, result *Result, w io.Writer) error {
	return testbed.WithFiles(func(dir string) {
		all := places()
		shown := cli.NewProgress(w)
		defer shown.End()
		wanted := slices.DeleteFunc(slices.Clone(all), func(at place) bool {
			return len(c.Only) > 0 && !slices.Contains(c.Only, at.String())
		})
		for i, at := range wanted {
			if ctx.Err() != nil {
				break
			}
			s := soaking{
				Programs: t.Programs, place: at, cpus: t.CPUs, guard: c.Guard, program: c.Program,
				reference: c.Reference, seed: at.seed(c.Seed),
				duration: c.Duration / time.Duration(len(all)), dir: filepath.Join(dir, strconv.Itoa(i)),
			}
			shown.Step(i+1, len(wanted), "%s", at)
			share := s.run(ctx)
			if ctx.Err() != nil {
				break // the interruption, and not the daemon, is what failed
			}
			share.judge(result.Host.Tainted)
			result.Shares = append(result.Shares, share)
			shown.Say("%s", share.Line())
		}
	})
}

// seed gives each place flows of its own, whichever others there are.
func (p place) seed(seed uint64) uint64 {
	h := fnv.New64a()
	fmt.Fprint(h, p, seed)
	return h.Sum64()
}
