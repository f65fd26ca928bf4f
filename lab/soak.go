package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"verdictd/internal/report"
	"verdictd/internal/traffic"
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

// A place is where the daemon stands for a share of the soak. Forward is a masquerading router.
type place struct{ placement, fanout string }

func (p place) String() string { return p.placement + "/" + p.fanout }

// places are those with a promise of order, numgen being without.
func places() []place {
	var all []place
	for _, f := range []string{"balance", "cpu"} {
		for _, p := range []string{"output", "postrouting", "input", "forward", "verdict3"} {
			all = append(all, place{p, f})
		}
	}
	return all
}

// minShare is the shortest share in which anything can be seen.
const minShare = 500 * time.Millisecond

// Validate is called by kong.
func (c *soakCmd) Validate() error {
	var errs []error
	all := places()
	for _, name := range c.Only {
		if !slices.ContainsFunc(all, func(p place) bool { return p.String() == name }) {
			errs = append(errs, fmt.Errorf("--only %s: there is no such place; there are %s", name, strings.Trim(fmt.Sprint(all), "[]")))
		}
	}
	if least := time.Duration(len(all)) * minShare; c.Duration < least || c.Duration > 24*time.Hour {
		errs = append(errs, fmt.Errorf("--duration %v is not within %v to 24h", c.Duration, least))
	}
	return errors.Join(errs...)
}

// AfterApply is called by kong when the flags are valid.
func (c *soakCmd) AfterApply() error {
	c.Seed = traffic.ChooseSeed(c.Seed)
	return nil
}

// Run is called by kong.
func (c *soakCmd) Run(ctx context.Context, std streams) error {
	t, outside, err := std.prepare(ctx, c.Bin, c.JSON)
	if outside || err != nil {
		return err
	}
	if c.Program == report.ProgramLibrary {
		if c.Reference, err = t.findReference(c.Reference); err != nil {
			return err
		}
	}
	result := &soakResult{
		Schema: soakSchema, Version: version, Host: t.host, Seed: c.Seed, Duration: c.Duration.String(), Guard: c.Guard, Program: c.Program,
		Shares: []soakShare{},
	}
	fmt.Fprintf(std.err, "lab: seed %d\n", c.Seed)
	if err := c.soak(ctx, &t, result, std); err != nil {
		return err
	}
	result.Interrupted = ctx.Err() != nil
	result.judge()
	return std.conclude(c.JSON, result, result.Verdict.OK)
}

// soak goes from place to place.
func (c *soakCmd) soak(ctx context.Context, t *testbed, result *soakResult, std streams) error {
	return withFiles(func(dir string) {
		all := places()
		for i, at := range all {
			if ctx.Err() != nil {
				break
			}
			if len(c.Only) > 0 && !slices.Contains(c.Only, at.String()) {
				continue
			}
			s := soaking{
				programs: t.programs, place: at, cpus: t.cpus, guard: c.Guard, program: c.Program, reference: c.Reference, seed: at.seed(c.Seed),
				duration: c.Duration / time.Duration(len(all)), dir: filepath.Join(dir, strconv.Itoa(i)),
			}
			share := s.run(ctx)
			if ctx.Err() != nil {
				break // the interruption, and not the daemon, is what failed
			}
			share.judge(result.Host.Tainted)
			result.Shares = append(result.Shares, share)
			fmt.Fprintf(std.err, "[%d/%d] %s\n", i+1, len(all), share.line())
		}
	})
}

// seed gives each place flows of its own, whichever others there are.
func (p place) seed(seed uint64) uint64 {
	h := fnv.New64a()
	fmt.Fprint(h, p, seed)
	return h.Sum64()
}
