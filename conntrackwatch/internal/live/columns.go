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
}

var columns = []column{
	{"clash/s", "clashes/s", func(f observe.Figures) *float64 { return f.Clashes }, "%.1f"},
	{"insfail/s", "insert_failed/s", func(f observe.Figures) *float64 { return f.Failed }, "%.1f"},
	{"drop/s", "drop/s", func(f observe.Figures) *float64 { return f.Dropped }, "%.1f"},
	{"evlost/s", "events lost/s", func(f observe.Figures) *float64 { return f.EventsLost }, "%.1f"},
	{"entries", "table entries", func(f observe.Figures) *float64 { return sent(f.Entries.N, f.Entries.Sent) }, "%.0f"},
	{"fill%", "table fill %", func(f observe.Figures) *float64 { return percent(f.Fill()) }, "%.1f"},
	{"backlog", "queues' backlog", func(f observe.Figures) *float64 { return f.Backlog }, "%.0f"},
	{"qdrop/s", "queues' drops/s", func(f observe.Figures) *float64 { return f.QueueDropped }, "%.1f"},
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
