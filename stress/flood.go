package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kong"

	"verdictd/internal/cli"
	"verdictd/internal/traffic"
)

// floodCmd holds the flags of `stress flood`; traffic.FloodConfig has their meaning in full.
type floodCmd struct {
	loadFlags

	Packets  *int         `help:"Packets to send. Default: ${flood_packets}, or with --duration as many as that gives." placeholder:"N"`
	Flows    int          `help:"Flows, each a socket." default:"${flood_flows}"`
	Threads  int          `help:"Sending threads, each on a CPU." default:"${flood_threads}"`
	Batch    int          `help:"Messages in one sendmmsg at most." default:"${flood_batch}"`
	Segments int          `help:"Packets in one message, which the kernel separates (UDP GSO); 1: no GSO." default:"${flood_segments}"`
	Pace     traffic.Pace `help:"full, or rate:N with N in packets per second. A packet is sent when it is due, whatever became of those before, and its latency counts from then." default:"full"`
	Blind    bool         `help:"Have no receiver: only the sending is measured, no loss."`

	Seed        uint64        `help:"Source ports and filling of payloads; 0: draw one." default:"0"`
	SendTimeout time.Duration `help:"Of a send that waits for buffer." default:"${flood_send_timeout}"`
	FailOnLoss  bool          `help:"Exit with 1 when a packet is lost."`
}

// floodResult is the result file behind its header.
type floodResult struct {
	traffic.FloodResult
	Topology string `json:"topology"` // empty: namespaces that were there before
	NAT      string `json:"nat"`
	conntrackCounts
}

// floodDefaults shows the defaults of traffic.DefaultFlood in the flags above.
func floodDefaults() kong.Vars {
	d := traffic.DefaultFlood()
	return kong.Vars{
		"flood_packets":      strconv.Itoa(d.Packets),
		"flood_flows":        strconv.Itoa(d.Flows),
		"flood_threads":      strconv.Itoa(d.Threads),
		"flood_batch":        strconv.Itoa(d.Batch),
		"flood_segments":     strconv.Itoa(d.Segments),
		"flood_send_timeout": d.SendTimeout.String(),
	}
}

// config is what the flags say, not yet validated but for what only they know.
func (c *floodCmd) config() (traffic.FloodConfig, error) {
	cfg := traffic.FloodConfig{
		Port: c.Port, AllowTarget: c.AllowTarget, Sources: c.Source,
		Flows: c.Flows, Duration: c.Duration, Size: c.Size,
		Threads: c.Threads, Batch: c.Batch, Segments: c.Segments, Pace: c.Pace, Blind: c.Blind,
		SenderNetns: c.SenderNetns, ReceiverNetns: c.ReceiverNetns,
		Seed: c.Seed, SendTimeout: c.SendTimeout, Timeout: c.Timeout, Linger: c.Linger, ReceiveBuffer: c.ReceiveBuffer,
	}
	target, family := c.target()
	cfg.Target, cfg.Packets = target, c.packets()
	var blind error
	if c.Blind && c.FailOnLoss {
		blind = errors.New("--blind sees no loss: leave it or --fail-on-loss out")
	}
	var nat error
	if c.NAT == "backends" {
		nat = errors.New("--nat backends: only clash hears at several addresses; use dnat")
	}
	return cfg, errors.Join(family, blind, nat, c.check(c.addressed()...), cfg.Validate())
}

// packets is how many there are at most. The ledger has a bit for each, so at full speed the bound is one that no thread
// reaches.
func (c *floodCmd) packets() int {
	const perThread = 5_000_000 // a second
	switch {
	case c.Packets != nil:
		return *c.Packets
	case c.Duration <= 0:
		return traffic.DefaultFlood().Packets
	case c.Pace.Full():
		return int(min(traffic.MaxFloodPackets, perThread*float64(c.Threads)*c.Duration.Seconds()))
	}
	return int(min(traffic.MaxFloodPackets, 1+c.Pace.Rate*c.Duration.Seconds()))
}

// Run is called by kong.
func (c *floodCmd) Run(ctx context.Context, s *streams) (err error) {
	cfg, err := c.config()
	if err != nil {
		return fmt.Errorf("%w of flood: %w", cli.ErrUsage, err)
	}
	at, outside, err := c.open(ctx, s)
	if outside {
		return err
	}
	if err != nil {
		return fmt.Errorf("flood: %w", err)
	}
	defer func() { err = errors.Join(err, at.Close()) }()
	if c.own() {
		cfg.Target, cfg.ReceiveAt, cfg.Sources, cfg.SenderNetns, cfg.ReceiverNetns = at.target, at.receiveAt, at.sources, at.sender, at.receiver
	}
	out, err := s.openResult(c.JSON, at.roles()...)
	if err != nil {
		return err
	}
	counter := openTally(at.namespaces())
	show, shown := s.progress(func(p traffic.Progress) string {
		return fmt.Sprintf("%d of %d packets, %d delivered", p.Sent, cfg.Packets, p.Counts.Delivered)
	})
	run, err := traffic.RunFlood(ctx, cfg, out.keep(cfg, show))
	shown()
	if err != nil {
		err = fmt.Errorf("flood: %w", err)
	}
	if run == nil {
		return errors.Join(err, counter.close(), out.close())
	}
	res := &floodResult{FloodResult: *run, Topology: c.Topology, NAT: c.NAT}
	var e error
	res.conntrackCounts, e = counter.counts(res.Sent)
	err = errors.Join(err, e)
	if c.FailOnLoss && res.FloodArrivals != nil && res.Lost > 0 {
		err = errors.Join(err, fmt.Errorf("flood: %d of %d packets lost", res.Lost, res.Sent))
	}
	return errors.Join(err, out.write("flood", res, res.summarize))
}

// summarize writes what a person wants to know first.
func (r *floodResult) summarize(w io.Writer) error {
	c := &r.Config
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(t, name+"\t"+format+"\n", args...) }
	gso := ""
	if c.Segments > 1 {
		gso = fmt.Sprintf(" of %d packets each (GSO)", c.Segments)
	}
	row("flood", "%s port %d, %d flows x %d bytes, %d thread(s), up to %d messages%s a call, pace %s, seed %d",
		c.Target, c.Port, c.Flows, c.Size, c.Threads, c.Batch, gso, c.Pace, c.Seed)
	if r.Topology != "" {
		row("path", "%s of its own, nat %s", r.Topology, r.NAT)
	}
	row("sent", "%d in %.3f s%s, %.0f/s, %d system calls", r.Sent, r.SendSeconds, ended(r.Ended), r.SentPerSecond, r.Calls)
	row("CPU", "%.3f us a packet, %.0f packets a second of one core", r.CPUPerPacket, r.PerCPUSecond)
	if r.SendErrors > 0 {
		row("send errors", "%d (%s), part of the loss", r.SendErrors, errnos(r.SendErrno))
	}
	if r.Lag != nil {
		row("lag", "%s behind the schedule", quantiles(*r.Lag))
	}
	if a := r.FloodArrivals; a != nil {
		row("delivered", "%d, %.0f/s", a.Delivered, a.PacketsPerSecond)
		row("faults", "%d lost, %d duplicated, %d reordered, %d corrupted", a.Lost, a.Duplicated, a.Reordered, a.Corrupted)
		if d := a.ReceiverDropped; d != nil && *d > 0 {
			row("receiver", "%d dropped at its own socket for want of buffer (%d bytes)", *d, a.ReceiveBuffer)
		}
		from := "the send"
		if r.Lag != nil {
			from = "when the packet was due"
		}
		row("latency", "%s from %s", quantiles(a.Latency), from)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	return nil
}
