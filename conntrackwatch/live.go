package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"verdictd/conntrackwatch/internal/observe"
	"verdictd/internal/cli"
)

// liveCmd is `conntrackwatch live`.
type liveCmd struct {
	places
	metrics
	Interval time.Duration `help:"Time between readings." default:"1s" placeholder:"D"`
	Duration time.Duration `help:"Watch for so long. Without it: until q, SIGINT or SIGTERM." placeholder:"D"`
	Events   bool          `help:"Listen to conntrack events, too, to see whether they get lost. May make the kernel attach events to entries."`
	JSON     bool          `name:"json" help:"Print one object a line for each reading of a namespace."`
	Plain    bool          `help:"Print lines on a terminal, too."`
}

// Help is called by kong.
func (l *liveCmd) Help() string {
	return "On a terminal, a view that is redrawn each interval; elsewhere a line for each namespace and interval, with columns as wide as" +
		" their heads, so that it can be cut. It reads counters and does not subscribe to events unless --events says so: a listener takes part in the exposure, see stats."
}

// Validate is called by kong.
func (l *liveCmd) Validate() error {
	var errs []error
	if l.Interval < 50*time.Millisecond {
		errs = append(errs, fmt.Errorf("--interval %v: want 50ms or more", l.Interval))
	}
	if l.Duration < 0 {
		errs = append(errs, fmt.Errorf("--duration %v is negative: leave it out to watch until a signal", l.Duration))
	}
	return errors.Join(append(errs, l.places.Validate())...)
}

// Run is called by kong.
func (l *liveCmd) Run(ctx context.Context, out output) (err error) {
	if l.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, l.Duration)
		defer cancel()
	}
	sources, err := l.open(out.remarks)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll(sources)) }()
	if l.Events {
		leave, err := listenIn(ctx, sources, l.Interval, out.remarks)
		if err != nil {
			return err
		}
		defer leave()
	}
	stop, err := l.serve(sources, out.remarks)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	lives := make([]*live, len(sources))
	for i, s := range sources {
		lives[i] = &live{source: s}
		if lives[i].last, err = s.Read(); err != nil {
			return err
		}
	}
	if err := ready(); err != nil {
		return err
	}
	if cli.IsTerminal(out.results) && !l.JSON && !l.Plain {
		return l.view(ctx, lives, out)
	}
	return l.lines(ctx, lives, out)
}

// live is a namespace under watch.
type live struct {
	source *observe.Source
	last   observe.Reading
	failed error
}

// step reads, and says what happened since the step before. After an error the next step spans both.
func (l *live) step() (observe.Figures, error) {
	now, err := l.source.Read()
	l.failed = err
	if err != nil {
		return observe.Figures{}, err
	}
	f := observe.Between(l.last, now)
	l.last = now
	return f, nil
}

// lines prints one for each namespace and interval.
func (l *liveCmd) lines(ctx context.Context, lives []*live, out output) error {
	tick := time.NewTicker(l.Interval)
	defer tick.Stop()
	const page = 20 // intervals to a header, as vmstat has it
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if n%page == 0 && !l.JSON {
			if err := writeRow(out.results, heads()); err != nil {
				return err
			}
		}
		for _, v := range lives {
			f, err := v.step()
			switch {
			case err != nil:
				fmt.Fprintf(out.remarks, "conntrackwatch: %v\n", err)
				continue
			case l.JSON:
				err = json.NewEncoder(out.results).Encode(newLiveJSON(v.source.Name, f))
			default:
				err = writeRow(out.results, cells(v.source.Name, f))
			}
			if err != nil {
				return fmt.Errorf("write the figures: %w", err)
			}
		}
	}
}

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

// liveJSON is a line of --json.
type liveJSON struct {
	Schema       int       `json:"schema"`
	Time         time.Time `json:"time"`
	NetNS        string    `json:"netns"`
	Clashes      *float64  `json:"clashes_per_second"`
	Failed       *float64  `json:"insert_failed_per_second"`
	Dropped      *float64  `json:"drop_per_second"`
	EventsLost   *float64  `json:"events_lost_per_second"`
	Entries      *float64  `json:"entries"`
	Fill         *float64  `json:"fill"`
	Backlog      *float64  `json:"queue_packets"`
	QueueDropped *float64  `json:"queue_dropped_per_second"`
}

func newLiveJSON(name string, f observe.Figures) liveJSON {
	return liveJSON{
		Schema: 1, Time: f.Time, NetNS: name, Clashes: f.Clashes, Failed: f.Failed, Dropped: f.Dropped, EventsLost: f.EventsLost,
		Entries: sent(f.Entries.N, f.Entries.Sent), Fill: f.Fill(), Backlog: f.Backlog, QueueDropped: f.QueueDropped,
	}
}
