package events

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"verdictd/conntrackwatch/internal/census"
	"verdictd/internal/ct"
	"verdictd/internal/vocabulary"
)

// Result is what is printed at the end, or every so often.
type Result struct {
	Schema        int     `json:"schema"`
	Version       string  `json:"version"`
	Seconds       float64 `json:"seconds"`
	ReceiveBuffer int     `json:"receive_buffer"`
	ct.EventCounts
	PerSecond map[vocabulary.Protocol]Rates `json:"per_second"`
	Flows     *census.Summary               `json:"flows"` // null with --count
}

// Rates are events a second.
type Rates struct {
	New     float64 `json:"new"`
	Update  float64 `json:"update"`
	Destroy float64 `json:"destroy"`
}

// NewResult is what was counted in some time by a program of a version.
func NewResult(version string, counts ct.EventCounts, took time.Duration, receiveBuffer int) *Result {
	r := &Result{
		Schema: 1, Version: version, Seconds: took.Seconds(), ReceiveBuffer: receiveBuffer,
		EventCounts: counts, PerSecond: make(map[vocabulary.Protocol]Rates),
	}
	for protocol, t := range counts.Protocols {
		r.PerSecond[protocol] = Rates{float64(t.New) / r.Seconds, float64(t.Update) / r.Seconds,
			float64(t.Destroy) / r.Seconds}
	}
	return r
}

// WriteLine writes it as one line of JSON.
func (r *Result) WriteLine(w io.Writer) error {
	if err := json.NewEncoder(w).Encode(r); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

// WriteText writes it for people.
func (r *Result) WriteText(w io.Writer) error {
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

// loss says whether events are missing, and what helps.
func (r *Result) loss() string {
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
