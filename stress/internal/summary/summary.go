package summary

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"verdictd/internal/cli"
	"verdictd/internal/results"
	"verdictd/internal/traffic"
)

// Table is a summary that is being written. What cannot be written, Flush tells.
type Table struct{ t *tabwriter.Writer }

// New begins a summary.
func New(w io.Writer) *Table { return &Table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)} }

// Row adds a line, or several where it is longer than a terminal is wide.
func (t *Table) Row(name, format string, args ...any) {
	const wide = cli.TableColumns - len("send errors  ")
	for _, line := range (cli.Look{Width: wide}).Wrap(fmt.Sprintf(format, args...)) {
		fmt.Fprintf(t.t, "%s\t%s\n", name, line)
		name = ""
	}
}

// Flush ends the summary.
func (t *Table) Flush() error {
	if err := t.t.Flush(); err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	return nil
}

// Way says what the packets went through, where stress made that.
func (t *Table) Way(w results.Way) {
	if w.Topology != "" {
		t.Row("path", "%s of its own, nat %s", w.Topology, w.NAT)
	}
}

// SendErrors says what the kernel refused, if anything.
func (t *Table) SendErrors(n uint64, causes map[string]uint64) {
	if n > 0 {
		t.Row("send errors", "%d (%s), part of the loss", n, Counts(causes))
	}
}

// ReceiverDropped says what the receiver's own socket lost, if anything.
func (t *Table) ReceiverDropped(n *uint64, buffer int) {
	if n != nil && *n > 0 {
		t.Row("receiver", "%d dropped at its own socket for want of buffer (%d bytes)", *n, buffer)
	}
}

// Conntrack shows what conntrack counted.
func (t *Table) Conntrack(c *results.Conntrack) {
	if c.Clashes == nil {
		t.Row("clashes", "not counted: %s", c.ConntrackUnread)
		return
	}
	per := 0.0
	if c.ClashesPerPacket != nil {
		per = *c.ClashesPerPacket
	}
	t.Row("clashes", "%d, %.4f a packet", *c.Clashes, per)
	if c.Untracked != "" {
		t.Row("", "nothing can clash: %s", c.Untracked)
	}
	t.Row("counted by", "%s", c.ClashesCount)
	var parts []string
	for _, counter := range []struct {
		name string
		n    *uint64
	}{
		{"clash_resolve", c.ClashResolve}, {"insert_failed", c.InsertFailed}, {"drop", c.Drop},
		{"chain_toolong", c.ChainTooLong},
	} {
		if counter.n != nil {
			parts = append(parts, fmt.Sprintf("%s %d", counter.name, *counter.n))
		}
	}
	t.Row("conntrack", "%s", strings.Join(parts, ", "))
}

// Ended is why a run sent no more, to follow its time; nothing where all was sent.
func Ended(e traffic.Ended) string {
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

// Quantiles are those of a time.
func Quantiles(q traffic.Quantiles) string {
	return fmt.Sprintf("p50 %.1f us, p99 %.1f us, max %.1f us", q.P50, q.P99, q.Max)
}

// Counts are numbers by names, such as errors by errno.
func Counts(counts map[string]uint64) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d %s", counts[name], name))
	}
	return strings.Join(parts, ", ")
}
