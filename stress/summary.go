package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"verdictd/internal/traffic"
)

// summarizeClash writes what a person wants to know first.
func summarizeClash(w io.Writer, res *clashResult) error {
	c := res.Config
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(t, name+"\t"+format+"\n", args...) }

	echo := ""
	if c.Echo {
		echo = ", echo"
	}
	row("clash", "%s port %d, bursts of %d x %d bytes, mode %s, %d thread(s), pace %s, seed %d%s",
		c.Target, c.Port, c.Burst, c.Size, c.Mode, c.Threads, c.Pace, c.Seed, echo)
	if res.Topology != "" {
		row("path", "%s of its own, nat %s", res.Topology, res.NAT)
	}
	row("flows", "%d in %.3f s%s", res.Flows, res.Seconds, ended(res.Ended))
	row("packets", "%d sent, %d delivered, %.0f/s", res.Sent, res.Delivered, res.PacketsPerSecond)
	row("faults", "%d lost, %d duplicated, %d reordered, %d corrupted", res.Lost, res.Duplicated, res.Reordered, res.Corrupted)
	if len(c.Backends) > 0 {
		row("split", "%d flows whose packets arrived at several of %v", res.Split, c.Backends)
	}
	if res.SendErrors > 0 {
		row("send errors", "%d (%s), part of the loss", res.SendErrors, errnos(res.SendErrno))
	}
	if d := res.ReceiverDropped; d != nil && *d > 0 {
		row("receiver", "%d dropped at its own socket for want of buffer (%d bytes)", *d, res.ReceiveBuffer)
	}
	if res.Foreign > 0 {
		row("foreign", "%d packets of another run", res.Foreign)
	}
	res.rows(row)
	row("latency", "%s", quantiles(res.Latency))
	if res.Spread != nil {
		row("spread", "%s between the first packets of a burst's threads", quantiles(*res.Spread))
	}
	if res.Lag != nil {
		row("lag", "%s behind the schedule", quantiles(*res.Lag))
	}
	if e := res.EchoResult; e != nil {
		row("echoes", "%d sent, %d delivered", e.EchoSent, e.EchoDelivered)
		row("echo faults", "%d lost, %d duplicated, %d reordered, %d corrupted", e.EchoLost, e.EchoDuplicated, e.EchoReordered, e.EchoCorrupted)
		if e.EchoSendErrors > 0 {
			row("echo errors", "%d (%s), part of the loss", e.EchoSendErrors, errnos(e.EchoSendErrno))
		}
		row("round trip", "%s", quantiles(e.RoundTrip))
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	return nil
}

func ended(e traffic.Ended) string {
	switch e {
	case traffic.EndedFlows, traffic.EndedPackets:
		return ""
	case traffic.EndedEnough:
		return ", until there were clashes enough"
	case traffic.EndedDuration:
		return ", until the time was over"
	case traffic.EndedTimeout:
		return ", timed out"
	}
	return ", " + string(e)
}

// rows shows what conntrack counted.
func (c *conntrackCounts) rows(row func(name, format string, args ...any)) {
	if c.Clashes == nil {
		row("clashes", "not counted: %s", c.ConntrackUnread)
		return
	}
	per := 0.0
	if c.ClashesPerPacket != nil {
		per = *c.ClashesPerPacket
	}
	row("clashes", "%d, %.4f a packet", *c.Clashes, per)
	row("counted by", "%s", c.ClashesCount)
	var parts []string
	for _, counter := range []struct {
		name string
		n    *uint64
	}{{"clash_resolve", c.ClashResolve}, {"insert_failed", c.InsertFailed}, {"drop", c.Drop}, {"chain_toolong", c.ChainTooLong}} {
		if counter.n != nil {
			parts = append(parts, fmt.Sprintf("%s %d", counter.name, *counter.n))
		}
	}
	row("conntrack", "%s", strings.Join(parts, ", "))
}

func quantiles(q traffic.Quantiles) string {
	return fmt.Sprintf("p50 %.1f us, p99 %.1f us, max %.1f us", q.P50, q.P99, q.Max)
}

func errnos(counts map[string]uint64) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d %s", counts[name], name))
	}
	return strings.Join(parts, ", ")
}
