package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"verdictd/internal/netlab"
	"verdictd/internal/traffic"
	"verdictd/stress/internal/record"
	"verdictd/stress/internal/summary"
	"verdictd/stress/internal/way"
)

// Config says what a run does.
type Config struct {
	Traffic traffic.SoakConfig
	Way     way.Config
	// Makes says that the namespaces are made for the run: nothing was named in which something else could be.
	Makes bool
}

// Prepare fills in what the namespaces bring that are made, and lists every problem.
func (c *Config) Prepare() error {
	m := &c.Traffic.Mix
	if c.Makes {
		m.Targets = nil
		for _, family := range netlab.Families() {
			const echo, discard = 7, 9
			n := netlab.Networks[family]
			m.Targets = append(m.Targets,
				traffic.MixTarget{Address: netip.AddrPortFrom(n.Target, echo), Echo: true},
				traffic.MixTarget{Address: netip.AddrPortFrom(n.Target, discard)})
		}
		m.Sources4, m.Sources6 = netlab.Networks["ipv4"].SourceList(), netlab.Networks["ipv6"].SourceList()
	}
	return c.Traffic.Validate()
}

// Run sends what a configuration says that is valid, and records what came of it.
func Run(ctx context.Context, cfg Config, to record.Config) (err error) {
	at, err := way.OpenBoth(cfg.Way, cfg.Makes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, at.Close()) }()
	soak := cfg.Traffic
	soak.Mix.SenderNetns, soak.Mix.ReceiverNetns = at.Sender, at.Receiver
	r, err := to.Open(at.Roles()...)
	if err != nil {
		return err
	}
	shown := to.Progress(soak.Mix.Duration)
	all := traffic.MixRounds(&soak.Mix)
	shown.Part(0, "round 1 of %d", all)
	res, err := traffic.RunSoak(ctx, soak, func(rounds int, sofar *traffic.MixResult) error {
		sum := sofar.Sum()
		shown.Part(0, "round %d of %d: %d flows, %d packets, %d lost", min(rounds+1, all), all, sofar.Shape.Flows, sum.Sent, sum.Lost)
		return r.Flush(&traffic.SoakResult{Config: soak, Rounds: rounds, MixResult: *sofar})
	})
	shown.End()
	if err != nil {
		err = fmt.Errorf("soak: %w", err)
	}
	if res == nil {
		return errors.Join(err, r.Close())
	}
	if len(res.Violations) > 0 {
		err = errors.Join(err, fmt.Errorf("soak (seed %d): %s", soak.Mix.Seed, strings.Join(res.Violations, "; ")))
	}
	return errors.Join(err, r.Write("soak", res, func(w io.Writer) error { return summarize(w, res) }))
}

// summarize writes what a person wants to know first.
func summarize(w io.Writer, res *traffic.SoakResult) error {
	t := summary.New(w)
	m, shape, sum := &res.Config.Mix, &res.Shape, res.Sum()
	interrupted := ""
	if res.Interrupted {
		interrupted = ", interrupted"
	}
	t.Row("soak", "%v of %v flows a second to %d targets, seed %d%s", m.Duration, m.Rate, len(m.Targets), m.Seed,
		interrupted)
	t.Row("flows", "%d in %.1f s: %d IPv6, %d answered, %d longer than 100 ms, %d with a pause of seconds, %d from two threads, %d from a port used before",
		shape.Flows, res.Seconds, shape.IPv6, shape.Echo, shape.Settling, shape.Paused, shape.Shared, shape.Reused)
	t.Row("packets", "%d sent, %d of them beyond the MTU, %d answers", sum.Sent, shape.Oversized, res.EchoSent)
	t.Row("faults", "%d lost, %d answers lost, %d duplicated, %d reordered, %d corrupted, %d from a changed port",
		sum.Lost, sum.EchoLost, sum.Duplicated, sum.Reordered, sum.Corrupted, sum.Moved)
	if sum.LossyLost > 0 {
		t.Row("expected", "%d lost on the way to lossy targets", sum.LossyLost)
	}
	t.Row("this process", "%d KiB of live objects, %d before; %d descriptors, %d before",
		res.After.Heap>>10, res.Before.Heap>>10, res.After.Descriptors, res.Before.Descriptors)
	for _, p := range res.Watched {
		t.Row(p.Name, "%d KiB at the start, %d warm, %d at the end; %d descriptors at the start, %d at the end",
			p.Memory.Start>>10, p.Memory.Warm>>10, p.Memory.End>>10, p.Descriptors.Start, p.Descriptors.End)
	}
	for _, v := range res.Violations {
		t.Row("FAILED", "%s", v)
	}
	return t.Flush()
}
