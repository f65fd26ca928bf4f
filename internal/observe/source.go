package observe

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"verdictd/internal/ct"
	"verdictd/internal/kernel"
	"verdictd/internal/nfq"
)

// Source is one network namespace. It may be used by several goroutines.
type Source struct {
	Name string

	mu   sync.Mutex // of conn, on which one answer follows one question
	ns   *kernel.NetNS
	conn *ct.Conn

	lost atomic.Pointer[func() uint64]
}

// Open opens a namespace. Who opens it closes it.
func Open(name kernel.NetNSName) (*Source, error) {
	ns, err := kernel.OpenNetNS(name.Path)
	if err != nil {
		return nil, err
	}
	s := &Source{Name: name.Name, ns: ns}
	if err := ns.Do(func() error {
		s.conn, err = ct.Dial()
		return err
	}); err != nil {
		return nil, errors.Join(fmt.Errorf("watch network namespace %s: %w", name.Name, err), ns.Close())
	}
	return s, nil
}

// Close closes what Open opened.
func (s *Source) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.conn.Close(), s.ns.Close())
}

// CountEvents has readings tell how many events a listener in this namespace has lost since it began. lost is called by
// whoever reads.
func (s *Source) CountEvents(lost func() uint64) { s.lost.Store(&lost) }

// Reading is what a namespace had counted at one time.
type Reading struct {
	ct.Snapshot
	// Queues are those bound; QueuesErr says why they could not be listed (root of the namespace may).
	Queues    []nfq.KernelQueue
	QueuesErr error
	// EventsLost is nil where nobody listens.
	EventsLost *uint64
}

// Read reads. After an error the counters' connection is opened anew the next time.
func (s *Source) Read() (Reading, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var r Reading
	err := s.ns.Do(func() (err error) {
		if r.Snapshot, err = s.conn.Snapshot(); err != nil {
			// A later answer could be taken for that to another question.
			_ = s.conn.Close()
			fresh, dialErr := ct.Dial()
			if dialErr != nil {
				return errors.Join(err, dialErr)
			}
			s.conn = fresh
			return err
		}
		r.Queues, r.QueuesErr = nfq.ReadKernelQueues()
		return nil
	})
	if lost := s.lost.Load(); lost != nil {
		n := (*lost)()
		r.EventsLost = &n
	}
	if err != nil {
		return r, fmt.Errorf("watch network namespace %s: %w", s.Name, err)
	}
	return r, nil
}
