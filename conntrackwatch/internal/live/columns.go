package live

import (
	"fmt"
	"io"
	"strings"
	"time"

	"verdictd/conntrackwatch/internal/observe"
)

// column is a figure of a line and a row of the view.
type column struct {
	head, row string
	figure    func(observe.Figures) *float64
	format    string
	meaning   string
}

var columns = []column{
	{"clash/s", "clashes/s", func(f observe.Figures) *float64 { return f.Clashes }, "%.1f",
		"how often two packets of a flow had an entry each: one entry clashes when it is confirmed"},
	{"insfail/s", "insert_failed/s", func(f observe.Figures) *float64 { return f.Failed }, "%.1f",
		"entries that did not get into the table; what that means depends on the kernel (see stats)"},
	{"drop/s", "drop/s", func(f observe.Figures) *float64 { return f.Dropped }, "%.1f",
		"packets that conntrack dropped, mostly as the table is full"},
	{"evlost/s", "events lost/s", func(f observe.Figures) *float64 { return f.EventsLost }, "%.1f",
		"events that a listener did not get (with --events)"},
	{"entries", "table entries", func(f observe.Figures) *float64 { return sent(f.Entries.N, f.Entries.Sent) }, "%.0f",
		"flows that conntrack has now"},
	{"fill%", "table fill %", func(f observe.Figures) *float64 { return percent(f.Fill()) }, "%.1f",
		"of what nf_conntrack_max allows; at 100 new flows are dropped"},
	{"backlog", "queues' backlog", func(f observe.Figures) *float64 { return f.Backlog }, "%.0f",
		"packets that wait for a verdict, in all NFQUEUE queues"},
	{"qdrop/s", "queues' drops/s", func(f observe.Figures) *float64 { return f.QueueDropped }, "%.1f",
		"packets that full queues and sockets dropped"},
}

func sent(n uint64, is bool) *float64 {
	if !is {
		return nil
	}
	return new(float64(n))
}

func percent(v *float64) *float64 {
	if v == nil {
		return nil
	}
	return new(*v * 100)
}

func (c *column) text(v *float64) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf(c.format, *v)
}

func heads() []string {
	row := []string{"time", "netns"}
	for _, c := range columns {
		row = append(row, c.head)
	}
	return row
}

func cells(name string, f observe.Figures) []string {
	row := []string{f.Time.Format(time.TimeOnly), name}
	for _, c := range columns {
		row = append(row, c.text(c.figure(f)))
	}
	return row
}

// writeRow writes a line: the time, the name, and figures flush right.
func writeRow(w io.Writer, row []string) error {
	var line strings.Builder
	fmt.Fprintf(&line, "%-8s %-20s", row[0], row[1])
	for i, cell := range row[2:] {
		fmt.Fprintf(&line, " %*s", max(9, len(columns[i].head)), cell)
	}
	if _, err := fmt.Fprintln(w, line.String()); err != nil {
		return fmt.Errorf("write the figures: %w", err)
	}
	return nil
}
