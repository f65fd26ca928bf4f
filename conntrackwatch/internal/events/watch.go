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

// A Watch listens in a namespace, and in the one that is made under its name when that is
// gone.
type Watch struct {
	cfg      Config
	source   *observe.Source
	remarks  io.Writer
	listener *ct.Listener   // nil: there is no namespace
	before   ct.EventCounts // of listeners in namespaces that are gone
	room     int            // of the listener, in bytes
	start    time.Time
	handler  ct.Handler
	flows    *census.Census // nil: they are not followed
	lines    *Lines         // nil: events are not written
}

// Open begins to listen. Lines go to the results, losses are remarks. The caller closes it.
func Open(cfg Config, source *observe.Source, results, remarks io.Writer) (*Watch, error) {
	w := &Watch{cfg: cfg, source: source, remarks: remarks}
	if err := w.listen(); err != nil {
		return nil, err
	}
	w.handler.Loss = func(loss ct.Loss) { remark(remarks, loss) }
	w.start = time.Now()
	switch {
	case cfg.Interval > 0:
		w.handler.Every, w.handler.Tick = cfg.Interval, w.sofar(w.sampler(results))
	case cfg.Publish:
		w.handler.Every, w.handler.Tick = time.Second, w.sofar(observe.Publisher(source))
	}
	switch {
	case cfg.Format != "":
		w.lines = NewLines(results, cfg.Format)
		w.handler.Event, w.handler.Batch = w.lines.Event, w.lines.Flush
	case !cfg.Count:
		w.follow()
		if err := w.openResync(); err != nil {
			return nil, errors.Join(err, w.Close())
		}
	}
	return w, nil
}

// listen begins to listen in the namespace that there is now.
func (w *Watch) listen() error {
	return w.source.Do(func() (err error) {
		if w.listener, err = ct.Listen(w.cfg.Listen); err == nil {
			w.room = w.listener.ReceiveBuffer()
		}
		return err
	})
}

// sofar has a Tick told what was counted in all namespaces.
func (w *Watch) sofar(tick func(ct.EventCounts) error) func(ct.EventCounts) error {
	return func(counts ct.EventCounts) error {
		w.room = w.listener.ReceiveBuffer()
		return tick(w.before.Plus(counts))
	}
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

// follow has a census take the events.
func (w *Watch) follow() {
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
	if len(w.cfg.Listen.Filter.Types) == 0 {
		w.handler.Resync = w.flows
	}
}

// openResync has the table read where all events come that tell of a change to it. Flows
// of a namespace that is gone are not in it, and have ended.
func (w *Watch) openResync() error {
	if w.handler.Resync == nil {
		return nil
	}
	return w.source.Do(w.listener.OpenResync)
}

// ReceiveBuffer is the room for events that wait to be counted, in bytes.
func (w *Watch) ReceiveBuffer() int { return w.room }

// Run listens until ctx is done. What was counted up to an error comes with it. Where the
// namespace goes it says so, and waits for one of the same name.
func (w *Watch) Run(ctx context.Context) (*Result, error) {
	err := w.run(ctx)
	for errors.Is(err, observe.ErrGone) && ctx.Err() == nil {
		fmt.Fprintf(w.remarks, "conntrackwatch: network namespace %s is gone\n", w.source.Name)
		if err = w.Close(); err == nil {
			err = w.again(ctx)
		}
	}
	r := w.result(w.before)
	if w.flows != nil {
		r.Flows = new(w.flows.Summary(w.cfg.Top, time.Now()))
	}
	if w.lines != nil {
		err = errors.Join(err, w.lines.Flush())
	}
	return r, err
}

// run listens in one namespace.
func (w *Watch) run(ctx context.Context) error {
	ctx, over := context.WithCancelCause(ctx)
	defer over(nil)
	go w.source.AwaitEnd(ctx, over)
	counts, err := w.listener.Run(ctx, w.handler)
	w.room = w.listener.ReceiveBuffer()
	w.before = w.before.Plus(counts)
	if cause := context.Cause(ctx); err == nil && errors.Is(cause, observe.ErrGone) {
		err = cause
	}
	return err
}

// look is how often a namespace that is gone is looked for.
const look = time.Second

// again waits for a namespace of the name, and listens in it.
func (w *Watch) again(ctx context.Context) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		err := w.listen()
		switch {
		case err == nil:
			fmt.Fprintf(w.remarks, "conntrackwatch: network namespace %s is there again\n", w.source.Name)
			if err = w.openResync(); err != nil {
				return err
			}
			return w.run(ctx)
		case !errors.Is(err, observe.ErrGone):
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (w *Watch) result(counts ct.EventCounts) *Result {
	return NewResult(w.cfg.Version, counts, time.Since(w.start), w.room)
}

// Close ends the listening.
func (w *Watch) Close() error {
	if w.listener == nil {
		return nil
	}
	err := w.listener.Close()
	w.listener = nil
	return err
}

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
