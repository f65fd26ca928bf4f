package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kong"

	"verdictd/internal/cli"
	"verdictd/internal/netlab"
	"verdictd/internal/traffic"
)

// soakCmd holds the flags of `stress soak`; traffic.SoakConfig has their meaning in full.
type soakCmd struct {
	Duration time.Duration `help:"How long flows are sent." default:"${soak_duration}"`
	Rate     float64       `help:"New flows a second, on average. A flow has about 8 packets." default:"${soak_rate}"`
	Seed     uint64        `help:"What the flows are drawn from; 0: draw one." default:"0"`

	Target []soakTarget `help:"Where flows go; repeatable. /echo: payloads are returned; /lossy: packets are meant to be dropped on the way. Default: port 7/echo and 9 of the namespaces that are made." placeholder:"ADDR:PORT[/echo][/lossy]"`
	Source []netip.Addr `help:"Where flows come from; repeatable." placeholder:"ADDR"`
	placesFlags

	WatchPID         []int `name:"watch-pid" help:"Watch the memory and the descriptors of this process, too; repeatable." placeholder:"PID"`
	MemoryGrowth     int   `help:"MiB that a watched process may grow by after a quarter of the time." default:"${soak_memory}"`
	DescriptorGrowth int   `help:"Descriptors that a watched process may have more at the end than at the start." default:"${soak_descriptors}"`

	Linger        time.Duration `help:"Wait for stragglers after each round at most." default:"${soak_linger}"`
	ReceiveBuffer int           `help:"Socket buffer of each receiver, in bytes." default:"${soak_buffer}"`

	JSON string `name:"json" help:"Write the result to a file; - is standard output, instead of the summary." placeholder:"FILE"`
}

// soakTarget is a target as it is written on the command line.
type soakTarget struct{ traffic.MixTarget }

// UnmarshalText is called by kong.
func (t *soakTarget) UnmarshalText(text []byte) (err error) {
	address, options, _ := strings.Cut(string(text), "/")
	if t.Address, err = netip.ParseAddrPort(address); err != nil {
		return fmt.Errorf("want ADDR:PORT[/echo][/lossy], such as 192.0.2.1:7/echo or [2001:db8::1]:9: %w", err)
	}
	for option := range strings.SplitSeq(options, "/") {
		switch option {
		case "":
		case "echo":
			t.Echo = true
		case "lossy":
			t.Lossy = true
		default:
			return fmt.Errorf("%q after %s: want echo or lossy", option, address)
		}
	}
	return nil
}

// soakDefaults shows the defaults of traffic.DefaultSoak in the flags above.
func soakDefaults() kong.Vars {
	d := traffic.DefaultSoak()
	return kong.Vars{
		"soak_duration":    d.Mix.Duration.String(),
		"soak_rate":        strconv.FormatFloat(d.Mix.Rate, 'g', -1, 64),
		"soak_memory":      strconv.Itoa(d.MemoryGrowth),
		"soak_descriptors": strconv.Itoa(d.DescriptorGrowth),
		"soak_linger":      d.Mix.Linger.String(),
		"soak_buffer":      strconv.Itoa(d.Mix.ReceiveBuffer),
	}
}

// makes says that the namespaces are the program's own: nothing was named in which something else could be.
func (c *soakCmd) makes() bool { return c.named() == "" && len(c.Target) == 0 && len(c.Source) == 0 }

// config is what the flags say.
func (c *soakCmd) config() (traffic.SoakConfig, error) {
	cfg := traffic.SoakConfig{
		Mix: traffic.MixConfig{
			Rate: c.Rate, Duration: c.Duration, Seed: traffic.ChooseSeed(c.Seed),
			SenderNetns: c.SenderNetns, ReceiverNetns: c.ReceiverNetns,
			ReceiveBuffer: c.ReceiveBuffer, Linger: c.Linger,
		},
		WatchPIDs: c.WatchPID, MemoryGrowth: c.MemoryGrowth, DescriptorGrowth: c.DescriptorGrowth,
	}
	m := &cfg.Mix
	for _, t := range c.Target {
		m.Targets = append(m.Targets, t.MixTarget)
	}
	for _, a := range c.Source {
		if a.Is4() {
			m.Sources4 = append(m.Sources4, a)
		} else {
			m.Sources6 = append(m.Sources6, a)
		}
	}
	if c.makes() {
		for _, f := range netlab.Families() {
			const echo, discard = 7, 9
			n := netlab.Networks[f]
			m.Targets = append(m.Targets,
				traffic.MixTarget{Address: netip.AddrPortFrom(n.Target, echo), Echo: true}, traffic.MixTarget{Address: netip.AddrPortFrom(n.Target, discard)})
		}
		m.Sources4, m.Sources6 = netlab.Networks["ipv4"].SourceList(), netlab.Networks["ipv6"].SourceList()
	}
	return cfg, errors.Join(c.validate(c.makes()), cfg.Validate())
}

// Run is called by kong.
func (c *soakCmd) Run(ctx context.Context, s *streams) (err error) {
	cfg, err := c.config()
	if err != nil {
		return fmt.Errorf("%w of soak: %w", cli.ErrUsage, err)
	}
	at, named, outside, err := c.open(ctx, s, c.makes())
	if outside || err != nil {
		return err
	}
	defer func() { err = errors.Join(err, at.Close()) }()
	cfg.Mix.SenderNetns, cfg.Mix.ReceiverNetns = at.sender, at.receiver
	out, err := s.openResult(c.JSON, named...)
	if err != nil {
		return err
	}
	show := s.rounds(traffic.MixRounds(&cfg.Mix))
	res, err := traffic.RunSoak(ctx, cfg, func(rounds int, sofar *traffic.MixResult) error {
		show(rounds, sofar)
		return out.flush(&traffic.SoakResult{Config: cfg, Rounds: rounds, MixResult: *sofar})
	})
	if err != nil {
		err = fmt.Errorf("soak: %w", err)
	}
	if res == nil {
		return errors.Join(err, out.close())
	}
	if len(res.Violations) > 0 {
		err = errors.Join(err, fmt.Errorf("soak (seed %d): %s", cfg.Mix.Seed, strings.Join(res.Violations, "; ")))
	}
	return errors.Join(err, out.write("soak", res, func(w io.Writer) error { return summarizeSoak(w, res) }))
}

// rounds shows on a terminal how far a soak of several rounds is.
func (s *streams) rounds(of int) func(int, *traffic.MixResult) {
	if of == 1 || !cli.IsTerminal(s.stderr) {
		return func(int, *traffic.MixResult) {}
	}
	return func(rounds int, sofar *traffic.MixResult) {
		sum := sofar.Sum()
		fmt.Fprintf(s.stderr, "round %d of %d: %d flows, %d packets, %d lost\n", rounds, of, sofar.Shape.Flows, sum.Sent, sum.Lost)
	}
}

// summarizeSoak writes what a person wants to know first.
func summarizeSoak(w io.Writer, res *traffic.SoakResult) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(t, name+"\t"+format+"\n", args...) }
	m, shape, sum := &res.Config.Mix, &res.Shape, res.Sum()
	interrupted := ""
	if res.Interrupted {
		interrupted = ", interrupted"
	}
	row("soak", "%v of %v flows a second to %d targets, seed %d%s", m.Duration, m.Rate, len(m.Targets), m.Seed, interrupted)
	row("flows", "%d in %.1f s: %d IPv6, %d answered, %d longer than 100 ms, %d with a pause of seconds, %d from two threads, %d from a port used before",
		shape.Flows, res.Seconds, shape.IPv6, shape.Echo, shape.Settling, shape.Paused, shape.Shared, shape.Reused)
	row("packets", "%d sent, %d of them beyond the MTU, %d answers", sum.Sent, shape.Oversized, res.EchoSent)
	row("faults", "%d lost, %d answers lost, %d duplicated, %d reordered, %d corrupted, %d from a changed port",
		sum.Lost, sum.EchoLost, sum.Duplicated, sum.Reordered, sum.Corrupted, sum.Moved)
	if sum.LossyLost > 0 {
		row("expected", "%d lost on the way to lossy targets", sum.LossyLost)
	}
	row("this process", "%d KiB of live objects, %d before; %d descriptors, %d before",
		res.After.Heap>>10, res.Before.Heap>>10, res.After.Descriptors, res.Before.Descriptors)
	for _, p := range res.Watched {
		row(p.Name, "%d KiB at the start, %d warm, %d at the end; %d descriptors at the start, %d at the end",
			p.Memory.Start>>10, p.Memory.Warm>>10, p.Memory.End>>10, p.Descriptors.Start, p.Descriptors.End)
	}
	for _, v := range res.Violations {
		row("FAILED", "%s", v)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	return nil
}
