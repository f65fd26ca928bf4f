package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"verdictd/conntrackwatch/internal/events"
	"verdictd/conntrackwatch/internal/observe"
	"verdictd/internal/ct"
)

type eventsCmd struct {
	window
	eventFilter
	metrics
	NetNS            string        `name:"netns" help:"Network namespace to listen in, by its name (ip netns) or path." placeholder:"NAME|PATH"`
	Count            bool          `help:"Only count: the cheapest way."`
	Format           string        `help:"Write a line for each event, instead of following flows: table, as conntrack -E has it, json or csv. The counts then go to stderr. Without it: no lines." not:"count,json" enum:",table,json,csv" default:"" placeholder:"table|json|csv"`
	Interval         time.Duration `help:"With --count: print a sample every so long, e.g. 1s. With --json one object a line. Without it: one result at the end."`
	Top              int           `help:"Addresses to name that begin the most flows." default:"10"`
	Flows            int           `help:"Flows to follow at the same time; each takes some 150 bytes." default:"262144"`
	ReceiveBuffer    int           `help:"Room for events that wait to be counted, in bytes. Without it: 8 MiB." placeholder:"BYTES"`
	MaxReceiveBuffer int           `help:"What it may grow to after a loss. Without it: 64 MiB." placeholder:"BYTES"`
}

// Help is called by kong.
func (e *eventsCmd) Help() string {
	return "Receives the kernel's events in batches and follows flows by them: who begins the most, how long they live, which have begun and not" +
		" ended. Events that the kernel drops, as the receive buffer is full, are counted with the time in which that was; the buffer is then made" +
		" larger, and the kernel's table is read to put right what was missed. While somebody listens, the kernel attaches events to new entries where" +
		" nf_conntrack_events is 2: on a kernel without the fix of CVE-2022-49561 a listener takes part in the exposure. The command stats does not."
}

// Validate is called by kong.
func (e *eventsCmd) Validate() error {
	var errs []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(e.MaxReceiveBuffer > 0 && e.MaxReceiveBuffer < e.ReceiveBuffer,
		"--max-receive-buffer %d is less than --receive-buffer %d", e.MaxReceiveBuffer, e.ReceiveBuffer)
	bad(e.Interval > 0 && !e.Count, "--interval is for --count")
	bad(e.Flows < 1, "--flows %d: want at least 1; --count follows none", e.Flows)
	_, err := e.filter()
	return errors.Join(append(errs, err, checkInterval(e.Interval))...)
}

// Run is called by kong.
func (e *eventsCmd) Run(ctx context.Context, out output) (err error) {
	filter, err := e.filter()
	if err != nil {
		return err
	}
	set, err := e.open(out.remarks)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	source := set.Sources()[0]
	source.PublishEvents(ct.EventCounts{})
	watch, err := events.Open(e.config(filter), source, out.results, out.remarks)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, watch.Close()) }()
	ctx, cancel := e.context(ctx)
	defer cancel()
	fmt.Fprintf(out.remarks, "conntrackwatch: listening, with room for %d bytes. While somebody listens, the kernel"+
		" attaches events to new entries where nf_conntrack_events is 2: on a kernel without the fix of CVE-2022-49561"+
		" that takes part in the exposure.\n", watch.ReceiveBuffer())
	stop, err := e.serve(set, out.remarks)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := ready(); err != nil {
		return err
	}

	// What was counted up to an error is worth printing too.
	result, err := watch.Run(ctx)
	switch {
	case e.Format != "":
		return errors.Join(err, writeText(output{results: out.remarks}, result))
	case e.Interval > 0 && e.JSON:
		return errors.Join(err, result.WriteLine(out.results))
	default:
		return errors.Join(err, e.print(out, result))
	}
}

func (e *eventsCmd) config(filter ct.Filter) events.Config {
	return events.Config{
		Version: version,
		Listen:  ct.ListenConfig{ReceiveBuffer: e.ReceiveBuffer, MaxReceiveBuffer: e.MaxReceiveBuffer, Filter: filter},
		Format:  e.Format, Count: e.Count,
		Interval: e.Interval, JSON: e.JSON, Publish: e.Listen != "",
		Top: e.Top, Flows: e.Flows,
	}
}

// open opens the namespace to listen in.
func (e *eventsCmd) open(remarks io.Writer) (*observe.Set, error) {
	var p places
	if e.NetNS != "" {
		p.NetNS = []string{e.NetNS}
	}
	return p.open(remarks)
}
