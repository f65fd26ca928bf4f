package flood

import (
	"context"
	"errors"
	"fmt"
	"io"

	"verdictd/internal/results"
	"verdictd/internal/traffic"
	"verdictd/stress/internal/record"
	"verdictd/stress/internal/summary"
	"verdictd/stress/internal/tally"
	"verdictd/stress/internal/way"
)

// Run sends what a configuration says that is valid, and records what came of it.
func Run(ctx context.Context, cfg Config, to record.Config) (err error) {
	at, err := way.Open(cfg.Way)
	if err != nil {
		return fmt.Errorf("flood: %w", err)
	}
	defer func() { err = errors.Join(err, at.Close()) }()
	cfg.take(at)
	r, err := to.Open(at.Roles()...)
	if err != nil {
		return err
	}
	counter := tally.Open(at.Namespaces())
	shown := to.Progress(cfg.Traffic.Duration)
	seen, err := traffic.RunFlood(ctx, cfg.Traffic, r.Keep(cfg.Traffic, func(p traffic.Progress) {
		shown.Part(float64(p.Sent)/float64(cfg.Traffic.Packets), "%d packets, %d delivered", p.Sent, p.Counts.Delivered)
	}))
	shown.End()
	if err != nil {
		err = fmt.Errorf("flood: %w", err)
	}
	if seen == nil {
		return errors.Join(err, counter.Close(), r.Close())
	}
	res := &results.Flood{FloodResult: *seen, Way: results.Way{Topology: cfg.Way.Topology, NAT: cfg.Way.NAT}}
	var e error
	res.Conntrack, e = counter.End(res.Sent)
	err = errors.Join(err, e)
	if cfg.FailOnLoss && res.FloodArrivals != nil && res.Lost > 0 {
		err = errors.Join(err, fmt.Errorf("flood: %d of %d packets lost", res.Lost, res.Sent))
	}
	return errors.Join(err, r.Write("flood", res, func(w io.Writer) error { return summarize(w, res) }))
}

// summarize writes what a person wants to know first.
func summarize(w io.Writer, r *results.Flood) error {
	c := &r.Config
	t := summary.New(w)
	gso := ""
	if c.Segments > 1 {
		gso = fmt.Sprintf(" of %d packets each (GSO)", c.Segments)
	}
	t.Row("flood", "%s port %d, %d flows x %d bytes, %d thread(s), up to %d messages%s a call, pace %s, seed %d",
		c.Target, c.Port, c.Flows, c.Size, c.Threads, c.Batch, gso, c.Pace, c.Seed)
	t.Way(r.Way)
	t.Row("sent", "%d in %.3f s%s, %.0f/s, %d system calls", r.Sent, r.SendSeconds, summary.Ended(r.Ended),
		r.SentPerSecond, r.Calls)
	t.Row("CPU", "%.3f us a packet, %.0f packets a second of one core", r.CPUPerPacket, r.PerCPUSecond)
	t.SendErrors(r.SendErrors, r.SendErrno)
	if r.Lag != nil {
		t.Row("lag", "%s behind the schedule", summary.Quantiles(*r.Lag))
	}
	if a := r.FloodArrivals; a != nil {
		t.Row("delivered", "%d, %.0f/s", a.Delivered, a.PacketsPerSecond)
		t.Row("faults", "%d lost, %d duplicated, %d reordered, %d corrupted", a.Lost, a.Duplicated, a.Reordered, a.Corrupted)
		t.ReceiverDropped(a.ReceiverDropped, a.ReceiveBuffer)
		from := "the send"
		if r.Lag != nil {
			from = "when the packet was due"
		}
		t.Row("latency", "%s from %s", summary.Quantiles(a.Latency), from)
	}
	return t.Flush()
}
