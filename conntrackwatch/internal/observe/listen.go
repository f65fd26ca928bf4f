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

// Listen has a listener count the events of each source and publish the counts every so often, until the returned
// function is called.
func Listen(ctx context.Context, sources []*Source, every time.Duration, remarks io.Writer) (leave func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	var listening sync.WaitGroup
	leave = func() {
		cancel()
		listening.Wait()
	}
	for _, s := range sources {
		var l *ct.Listener
		if err := s.Do(func() (err error) {
			l, err = ct.Listen(ct.ListenConfig{})
			return err
		}); err != nil {
			leave()
			return nil, err
		}
		s.PublishEvents(ct.EventCounts{})
		listening.Go(func() {
			_, err := l.Run(ctx, ct.Handler{Every: every, Tick: Publisher(s)})
			if err := errors.Join(err, l.Close()); err != nil {
				fmt.Fprintf(remarks, "conntrackwatch: events of %s are no longer counted: %v\n", s.Name, err)
			}
		})
	}
	return leave, nil
}

// Publisher is a listener's Tick.
func Publisher(s *Source) func(ct.EventCounts) error {
	return func(counts ct.EventCounts) error {
		s.PublishEvents(counts)
		return nil
	}
}
