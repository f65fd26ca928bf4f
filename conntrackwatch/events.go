package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"verdictd/internal/ct"
)

type eventsCmd struct {
	window
	ReceiveBuffer int `help:"Room for events that wait to be counted, in bytes. Without it: 8 MiB." placeholder:"BYTES"`
}

// Validate is called by kong.
func (e eventsCmd) Validate() error {
	if e.ReceiveBuffer < 0 {
		return fmt.Errorf("--receive-buffer %d is negative: leave it out for the default", e.ReceiveBuffer)
	}
	return e.window.Validate()
}

// eventsResult is what events prints.
type eventsResult struct {
	Schema        int     `json:"schema"`
	Version       string  `json:"version"`
	Seconds       float64 `json:"seconds"`
	ReceiveBuffer int     `json:"receive_buffer"`
	ct.EventCounts
}

// Run is called by kong.
func (e *eventsCmd) Run(ctx context.Context, out output) (err error) {
	ctx, cancel := e.context(ctx)
	defer cancel()
	listener, err := ct.Listen(ct.ListenConfig{ReceiveBuffer: e.ReceiveBuffer})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, listener.Close()) }()
	start := time.Now()
	fmt.Fprintf(out.remarks, "conntrackwatch: listening, with room for %d bytes. While somebody listens, the kernel attaches events to new entries"+
		" where nf_conntrack_events is 2: on a kernel without the fix of CVE-2022-49561 that takes part in the exposure.\n",
		listener.ReceiveBuffer())
	if err := ready(); err != nil {
		return err
	}

	// What was counted up to an error is worth printing too.
	counts, err := listener.Run(ctx, ct.Handler{})
	return errors.Join(err, e.print(out, eventsResult{
		Schema:        1,
		Version:       version,
		Seconds:       time.Since(start).Seconds(),
		ReceiveBuffer: listener.ReceiveBuffer(),
		EventCounts:   counts,
	}))
}

func (r eventsResult) writeText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	line := func(name string, tally ct.Tally) { // errors stay with the tabwriter, whose Flush returns them
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t\n", name, tally.New, tally.Update, tally.Destroy)
	}
	fmt.Fprintln(t, "protocol\tnew\tupdate\tdestroy\t")
	for _, protocol := range slices.Sorted(maps.Keys(r.Protocols)) {
		line(protocol.String(), r.Protocols[protocol])
	}
	line("total", r.Total)
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "in %.1f s; %s\n", r.Seconds, r.loss())
	if err != nil || r.Undecodable == 0 {
		return err
	}
	_, err = fmt.Fprintf(w, "%d messages were not understood and are in no row\n", r.Undecodable)
	return err
}

// loss says whether events are missing, and what helps.
func (r eventsResult) loss() string {
	if r.Lost == 0 && r.LostEvents.N == 0 {
		return "no event was lost"
	}
	number := "an unknown number of"
	if r.LostEvents.Sent {
		number = r.LostEvents.String()
	}
	return fmt.Sprintf("the kernel dropped %s events on %d occasions as its buffer of %d bytes was full: give more by --receive-buffer",
		number, r.Lost, r.ReceiveBuffer)
}
