package observe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"verdictd/internal/ct"
)

// Listen has a listener count the events of each namespace of the set and publish the
// counts every so often, until the returned function is called. In one that is made again
// it begins again.
func Listen(ctx context.Context, set *Set, every time.Duration, remarks io.Writer) (leave func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	l := &listeners{ctx: ctx, set: set, every: every, remarks: remarks, heard: map[*Source]int{}}
	leave = func() {
		cancel()
		l.group.Wait()
	}
	if err := l.begin(); err != nil {
		leave()
		return nil, err
	}
	l.group.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := l.begin(); err != nil && !errors.Is(err, ErrGone) {
				fmt.Fprintf(remarks, "conntrackwatch: %v\n", err)
			}
		}
	})
	return leave, nil
}

// listeners are those of a set.
type listeners struct {
	ctx     context.Context
	set     *Set
	every   time.Duration
	remarks io.Writer
	group   sync.WaitGroup
	heard   map[*Source]int // the namespace that is listened in, as Reading.Made says
}

// begin listens where nobody does.
func (l *listeners) begin() error {
	var errs []error
	for _, s := range l.set.Sources() {
		made := s.made()
		if made == 0 || l.heard[s] == made {
			continue
		}
		var one *ct.Listener
		if err := s.Do(func() (err error) {
			one, err = ct.Listen(ct.ListenConfig{})
			return err
		}); err != nil {
			errs = append(errs, err)
			continue
		}
		l.heard[s] = made
		s.PublishEvents(ct.EventCounts{})
		ctx, over := context.WithCancelCause(l.ctx)
		l.group.Go(func() { s.AwaitEnd(ctx, over) })
		l.group.Go(func() {
			defer over(nil)
			_, err := one.Run(ctx, ct.Handler{Every: l.every, Tick: Publisher(s)})
			if err := errors.Join(err, one.Close()); err != nil {
				fmt.Fprintf(l.remarks, "conntrackwatch: events of %s are no longer counted: %v\n", s.Name, err)
			}
		})
	}
	return errors.Join(errs...)
}

// Publisher is a listener's Tick.
func Publisher(s *Source) func(ct.EventCounts) error {
	return func(counts ct.EventCounts) error {
		s.PublishEvents(counts)
		return nil
	}
}
