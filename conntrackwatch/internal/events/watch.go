package events

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"verdictd/conntrackwatch/internal/census"
	"verdictd/conntrackwatch/internal/observe"
	"verdictd/internal/ct"
)

// Config says what is listened to, and what is made of it.
type Config struct {
	Version string // of the program
	Listen  ct.ListenConfig
	// Format has each event written as a line: see [NewLines]. Empty: flows are followed, unless Count has events
	// counted only.
	Format string
	Count  bool
	// Interval is the time between samples, 0: none. JSON has them as objects.
	Interval time.Duration
	JSON     bool
	// Publish has the counts told to those who read the source.
	Publish bool
	Top     int // addresses to name that begin the most flows
	Flows   int // to follow at the same time
}

// A Watch listens in a namespace.
type Watch struct {
	cfg      Config
	source   *observe.Source
	listener *ct.Listener
	start    time.Time
	handler  ct.Handler
	flows    *census.Census // nil: they are not followed
	lines    *Lines         // nil: events are not written
}

// Open begins to listen. Lines go to the results, losses are remarks. The caller closes it.
func Open(cfg Config, source *observe.Source, results, remarks io.Writer) (*Watch, error) {
	w := &Watch{cfg: cfg, source: source}
	if err := source.Do(func() (err error) {
		w.listener, err = ct.Listen(cfg.Listen)
		return err
	}); err != nil {
		return nil, err
	}
	w.handler.Loss = func(loss ct.Loss) { remark(remarks, loss) }
	w.start = time.Now()
	switch {
	case cfg.Interval > 0:
		w.handler.Every, w.handler.Tick = cfg.Interval, w.sampler(results)
	case cfg.Publish:
		w.handler.Every, w.handler.Tick = time.Second, observe.Publisher(source)
	}
	switch {
	case cfg.Format != "":
		w.lines = NewLines(results, cfg.Format)
		w.handler.Event, w.handler.Batch = w.lines.Event, w.lines.Flush
	case !cfg.Count:
		if err := w.follow(); err != nil {
			return nil, errors.Join(err, w.Close())
		}
	}
	return w, nil
}

// sampler writes a sample of what was counted up to now.
func (w *Watch) sampler(results io.Writer) func(ct.EventCounts) error {
	var samples Samples
	return func(counts ct.EventCounts) error {
		w.source.PublishEvents(counts)
		if w.cfg.JSON {
			return w.result(counts).WriteLine(results)
		}
		return samples.Write(results, counts)
	}
}

// follow has a census take the events. The table is read where all events come that tell of a change to it.
func (w *Watch) follow() error {
	w.flows = census.New(census.Config{Flows: w.cfg.Flows})
	var now time.Time // of the batch: a rest is longer than it takes to handle one
	w.handler.Event = func(event *ct.Event) {
		if now.IsZero() {
			now = time.Now()
		}
		w.flows.Event(event, now)
	}
	w.handler.Batch = func() error {
		now = time.Time{}
		return nil
	}
	if len(w.cfg.Listen.Filter.Types) > 0 {
		return nil
	}
	w.handler.Resync = w.flows
	return w.source.Do(w.listener.OpenResync)
}

// ReceiveBuffer is the room for events that wait to be counted, in bytes.
func (w *Watch) ReceiveBuffer() int { return w.listener.ReceiveBuffer() }

// Run listens until ctx is done. What was counted up to an error comes with it.
func (w *Watch) Run(ctx context.Context) (*Result, error) {
	counts, err := w.listener.Run(ctx, w.handler)
	r := w.result(counts)
	if w.flows != nil {
		r.Flows = new(w.flows.Summary(w.cfg.Top, time.Now()))
	}
	if w.lines != nil {
		err = errors.Join(err, w.lines.Flush())
	}
	return r, err
}

func (w *Watch) result(counts ct.EventCounts) *Result {
	return NewResult(w.cfg.Version, counts, time.Since(w.start), w.listener.ReceiveBuffer())
}

// Close ends the listening.
func (w *Watch) Close() error { return w.listener.Close() }

// remark tells of a loss when it has happened.
func remark(w io.Writer, loss ct.Loss) {
	number := "an unknown number of"
	if loss.Events.Sent {
		number = loss.Events.String()
	}
	const clock = "15:04:05.000"
	fmt.Fprintf(w, "conntrackwatch: the kernel dropped %s events between %s and %s, as the receive buffer was full;"+
		" it has room for %d bytes now.\n", number, loss.From.Format(clock), loss.To.Format(clock), loss.ReceiveBuffer)
}
