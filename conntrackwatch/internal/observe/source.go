package observe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"verdictd/internal/ct"
	"verdictd/internal/netlab"
	"verdictd/internal/nfq"
)

// ErrGone says that there is no namespace under the source's name.
var ErrGone = errors.New("there is no such namespace")

// Source is a network namespace under a name, or under what the name stands for later: a
// namespace that is deleted is let go, and one that is made under the same name is
// watched. It may be used by several goroutines.
type Source struct {
	Name string
	path string

	mu    sync.Mutex // of what follows; on conn, one answer follows one question
	ns    *netlab.NetNS
	conn  *ct.Conn
	times int // that a namespace was opened
	// kept: the namespace stays this one, whatever becomes of its name.
	kept bool

	events atomic.Pointer[ct.EventCounts]
}

// Open opens a namespace. Who opens it closes it.
func Open(name netlab.NetNSName) (*Source, error) {
	s := &Source{Name: name.Name, path: name.Path}
	// The path of the own one says another thing on another thread.
	s.kept = strings.HasPrefix(name.Path, "/proc/thread-self/") || strings.HasPrefix(name.Path, "/proc/self/")
	if err := s.open(); err != nil {
		return nil, err
	}
	return s, nil
}

// open opens what the path stands for now.
func (s *Source) open() error {
	ns, err := netlab.OpenNetNS(s.path)
	if err != nil {
		return err
	}
	var conn *ct.Conn
	if err := ns.Do(func() error {
		conn, err = ct.Dial()
		return err
	}); err != nil {
		return errors.Join(fmt.Errorf("watch network namespace %s: %w", s.Name, err), ns.Close())
	}
	s.ns, s.conn = ns, conn
	s.times++
	return nil
}

// follow lets go of a namespace that has lost its name, and opens the one that has it
// now. A namespace lives as long as somebody holds it, as this one would for ever.
func (s *Source) follow() error {
	if s.kept {
		if s.ns == nil {
			return fmt.Errorf("watch network namespace %s: %w any more", s.Name, ErrGone)
		}
		return nil
	}
	named, err := os.Stat(s.path)
	if s.ns != nil {
		held, heldErr := s.ns.File().Stat()
		if err == nil && heldErr == nil && os.SameFile(named, held) {
			return nil
		}
		s.letGo()
	}
	if err != nil {
		return fmt.Errorf("watch network namespace %s: %w: %w", s.Name, ErrGone, err)
	}
	return s.open()
}

// letGo closes the namespace.
func (s *Source) letGo() {
	if s.ns != nil {
		_ = errors.Join(s.conn.Close(), s.ns.Close())
		s.ns, s.conn = nil, nil
	}
}

// Close closes what Open opened.
func (s *Source) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.letGo()
	s.kept = true // and does not come back
	return nil
}

// Do runs f on a thread in the namespace.
func (s *Source) Do(f func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.follow(); err != nil {
		return err
	}
	return s.ns.Do(f)
}

// AwaitEnd calls over with ErrGone when the name does not stand for the namespace any
// more for which it did, as a listener in it hears no more. It returns when ctx ends.
func (s *Source) AwaitEnd(ctx context.Context, over func(error)) {
	began := s.made()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if s.made() != began {
			over(fmt.Errorf("watch network namespace %s: %w any more", s.Name, ErrGone))
			return
		}
	}
}

// made is Reading.Made now; 0: there is no namespace.
func (s *Source) made() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.follow() != nil {
		return 0
	}
	return s.times
}

// PublishEvents has readings tell what a listener in this namespace has counted since it began.
func (s *Source) PublishEvents(counts ct.EventCounts) { s.events.Store(&counts) }

// Reading is what a namespace had counted at one time.
type Reading struct {
	ct.Snapshot
	// Made is another number where the name stands for another namespace than before, of
	// which all counters began at 0.
	Made int
	// Queues are those bound; QueuesErr says why they could not be listed (root of the namespace may).
	Queues    []nfq.KernelQueue
	QueuesErr error
	// Events is nil where nobody listens.
	Events *ct.EventCounts
}

// Counters reads conntrack's counters and the table's size, and tells Reading.Made. After
// an error the connection is opened again. ErrGone: the namespace has been deleted.
func (s *Source) Counters() (ct.Snapshot, int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.follow(); err != nil {
		return ct.Snapshot{}, s.times, err
	}
	return s.counters()
}

func (s *Source) counters() (ct.Snapshot, int, error) {
	snapshot, err := s.conn.Snapshot()
	if err == nil {
		return snapshot, s.times, nil
	}
	err = fmt.Errorf("watch network namespace %s: %w", s.Name, err)
	// A late answer could be taken for that to another question.
	return snapshot, s.times, errors.Join(err, s.ns.Do(func() error {
		conn, err := ct.Dial()
		if err == nil {
			_ = s.conn.Close()
			s.conn = conn
		}
		return err
	}))
}

// Read reads all there is.
func (s *Source) Read() (Reading, error) {
	r := Reading{Events: s.events.Load()}
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.follow()
	if err == nil {
		r.Snapshot, r.Made, err = s.counters()
	}
	if err != nil {
		return r, err
	}
	if err := s.ns.Do(func() error {
		r.Queues, r.QueuesErr = nfq.ReadKernelQueues()
		return nil
	}); err != nil {
		return r, fmt.Errorf("watch network namespace %s: %w", s.Name, err)
	}
	return r, nil
}
