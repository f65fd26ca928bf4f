package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"verdictd/conntrackwatch/internal/census"
	"verdictd/internal/ct"
)

// eventsResult is what events prints.
type eventsResult struct {
	Schema        int     `json:"schema"`
	Version       string  `json:"version"`
	Seconds       float64 `json:"seconds"`
	ReceiveBuffer int     `json:"receive_buffer"`
	ct.EventCounts
	PerSecond map[ct.Protocol]eventRates `json:"per_second"`
	Flows     *census.Summary            `json:"flows"` // null with --count
}

// eventRates are events a second.
type eventRates struct {
	New     float64 `json:"new"`
	Update  float64 `json:"update"`
	Destroy float64 `json:"destroy"`
}

func newEventsResult(counts ct.EventCounts, took time.Duration, receiveBuffer int) *eventsResult {
	r := &eventsResult{
		Schema: 1, Version: version, Seconds: took.Seconds(), ReceiveBuffer: receiveBuffer,
		EventCounts: counts, PerSecond: make(map[ct.Protocol]eventRates),
	}
	for protocol, t := range counts.Protocols {
		r.PerSecond[protocol] = eventRates{float64(t.New) / r.Seconds, float64(t.Update) / r.Seconds, float64(t.Destroy) / r.Seconds}
	}
	return r
}

func (r *eventsResult) writeText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	line := func(name string, tally ct.Tally, rate float64) { // errors stay with the tabwriter, whose Flush returns them
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%.1f\t\n", name, tally.New, tally.Update, tally.Destroy, rate)
	}
	fmt.Fprintln(t, "protocol\tnew\tupdate\tdestroy\tnew a second\t")
	var rate float64
	for _, protocol := range slices.Sorted(maps.Keys(r.Protocols)) {
		line(protocol.String(), r.Protocols[protocol], r.PerSecond[protocol].New)
		rate += r.PerSecond[protocol].New
	}
	line("total", r.Total, rate)
	if err := t.Flush(); err != nil {
		return err
	}
	if r.Flows != nil {
		if err := writeFlows(w, r.Flows); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "in %.1f s; %s\n", r.Seconds, r.loss())
	if err != nil || r.Undecodable == 0 {
		return err
	}
	_, err = fmt.Fprintf(w, "%d messages were not understood and are in no row\n", r.Undecodable)
	return err
}

// writeFlows writes what the census has found.
func writeFlows(w io.Writer, s *census.Summary) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	table := func(title string, rows map[ct.Protocol]census.Quantiles) {
		if len(rows) == 0 {
			return
		}
		fmt.Fprintf(t, "\n%s\tflows\tmedian\t90 %%\t99 %%\tlongest\t\n", title)
		for _, protocol := range slices.Sorted(maps.Keys(rows)) {
			q := rows[protocol]
			fmt.Fprintf(t, "%v\t%d\t%.3f s\t%.3f s\t%.3f s\t%.3f s\t\n", protocol, q.Count, q.P50, q.P90, q.P99, q.Max)
		}
	}
	table("lived", s.Lifetimes)
	table("open, for", s.Open)
	if len(s.Talkers) > 0 {
		fmt.Fprintln(t, "\naddress\tflows begun\tat most too many\tpackets\tbytes\t")
		for _, talker := range s.Talkers {
			fmt.Fprintf(t, "%v\t%d\t%d\t%d\t%d\t\n", talker.Address, talker.Flows, talker.Overcount, talker.Packets, talker.Bytes)
		}
	}
	fmt.Fprintln(t)
	if err := t.Flush(); err != nil {
		return err
	}
	var text strings.Builder
	remark := func(n uint64, words string) {
		if n > 0 {
			fmt.Fprintf(&text, "%d %s\n", n, words)
		}
	}
	remark(s.Older, "flows were there already")
	remark(s.OlderEnded, "flows ended whose beginning was not seen")
	remark(s.Untracked, "flows found no room to be followed: give more by --flows")
	if c := s.Corrections; c.Readings > 0 {
		fmt.Fprintf(&text, "after losses the kernel's table was read %d times: %d flows had begun, %d had changed and %d had ended unseen\n",
			c.Readings, c.New, c.Update, c.Destroy)
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// loss says whether events are missing, and what helps.
func (r *eventsResult) loss() string {
	if r.Lost == 0 && r.LostEvents.N == 0 {
		return "no event was lost"
	}
	number := "an unknown number of"
	if r.LostEvents.Sent {
		number = r.LostEvents.String()
	}
	return fmt.Sprintf("the kernel dropped %s events on %d occasions as its buffer was full (%d bytes by now): give more by --receive-buffer",
		number, r.Lost, r.ReceiveBuffer)
}

// eventSamples prints what was counted since the sample before.
type eventSamples struct {
	json   bool
	before ct.EventCounts
	rows   int
}

func (s *eventSamples) print(out output, r *eventsResult) error {
	if s.json {
		return printLine(out, r)
	}
	const page = 20 // rows to a header
	if s.rows%page == 0 {
		fmt.Fprintf(out.results, "%-8s %10s %10s %10s %10s\n", "time", "new", "update", "destroy", "lost")
	}
	s.rows++
	now, before := r.EventCounts, s.before
	s.before = now
	_, err := fmt.Fprintf(out.results, "%-8s %10d %10d %10d %10d\n", time.Now().Format("15:04:05"),
		now.Total.New-before.Total.New, now.Total.Update-before.Total.Update, now.Total.Destroy-before.Total.Destroy, now.LostEvents.N-before.LostEvents.N)
	if err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}
