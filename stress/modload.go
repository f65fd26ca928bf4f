package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
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
func (c *modloadCmd) Run(ctx context.Context, s *streams) error {
	part, err := c.part()
	if err = errors.Join(err, modrace.Validate(c.Threads, c.Rounds, c.Strategy)); err != nil {
		return fmt.Errorf("%w of modload: %w", cli.ErrUsage, err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	machine := modrace.Machine{FS: os.DirFS("/")}
	target, err := modrace.Prepare(ctx, machine, part, c.Module)
	if err != nil {
		return fmt.Errorf("modload: %w", err)
	}
	out, err := s.openResult(c.JSON)
	if err != nil {
		return err
	}
	// What an unloading breaks may break at once: the file has the rounds up to the one before, now and then.
	const every = 10
	var flushed error
	res, err := modrace.Run(ctx, machine, target, c.Threads, c.Rounds, c.Strategy, func(r *modrace.Result) {
		if r.Rounds%every == 1 {
			flushed = errors.Join(flushed, out.flush(r))
		}
	})
	if err = errors.Join(err, flushed); err != nil {
		err = fmt.Errorf("modload: %w", err)
	}
	if res.Failed > 0 {
		err = errors.Join(err, fmt.Errorf("modload: %d of %d attempts failed, in %d of %d rounds", res.Failed, res.Failed+res.Opened, res.FailedRounds, res.Rounds))
	}
	return errors.Join(err, out.write("modload", res, func(w io.Writer) error { return summarizeModload(w, res) }))
}

// summarizeModload writes what a person wants to know first.
func summarizeModload(w io.Writer, res *modrace.Result) error {
	c := &res.Config
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(t, name+"\t"+format+"\n", args...) }
	row("modload", "%s (%s, module %s), %d threads, strategy %s", c.Part, c.Alias, c.Module, c.Threads, c.Strategy)
	row("modprobe", "%s (%s); the race of kmod up to 19: %s", res.Modprobe, res.Kmod, res.KmodRace)
	row("rounds", "%d of %d in %.3f s", res.Rounds, c.Rounds, res.Seconds)
	row("attempts", "%d succeeded, %d failed", res.Opened, res.Failed)
	if res.Failed > 0 {
		row("failures", "%s, in %d rounds, first in round %d", errnos(res.Errors), res.FailedRounds, res.FirstFailure)
	}
	if res.StartErrors > 0 {
		row("start", "gave up before the threads began in %d rounds", res.StartErrors)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	return nil
}
