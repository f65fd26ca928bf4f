package observe

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"verdictd/internal/ct"
	"verdictd/internal/netlab"
	"verdictd/internal/nfq"
)

// Source is one network namespace. It may be used by several goroutines.
type Source struct {
	Name string

	mu   sync.Mutex // of conn, on which one answer follows one question
	ns   *netlab.NetNS
	conn *ct.Conn

	events atomic.Pointer[ct.EventCounts]
}

// Open opens a namespace. Who opens it closes it.
func Open(name netlab.NetNSName) (*Source, error) {
	ns, err := netlab.OpenNetNS(name.Path)
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

// Do runs f on a thread in the namespace.
func (s *Source) Do(f func() error) error { return s.ns.Do(f) }

// PublishEvents has readings tell what a listener in this namespace has counted since it began.
func (s *Source) PublishEvents(counts ct.EventCounts) { s.events.Store(&counts) }

// Reading is what a namespace had counted at one time.
type Reading struct {
	ct.Snapshot
	// Queues are those bound; QueuesErr says why they could not be listed (root of the namespace may).
	Queues    []nfq.KernelQueue
	QueuesErr error
	// Events is nil where nobody listens.
	Events *ct.EventCounts
}

// Counters reads conntrack's counters and the table's size. After an error the connection is opened again.
func (s *Source) Counters() (ct.Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	snapshot, err := s.conn.Snapshot()
	if err == nil {
		return snapshot, nil
	}
	err = fmt.Errorf("watch network namespace %s: %w", s.Name, err)
	// A late answer could be taken for that to another question.
	_ = s.conn.Close()
	return snapshot, errors.Join(err, s.ns.Do(func() error {
		conn, err := ct.Dial()
		if err == nil {
			s.conn = conn
		}
		return err
	}))
}

// Read reads all there is.
func (s *Source) Read() (Reading, error) {
	r := Reading{Events: s.events.Load()}
	var err error
	if r.Snapshot, err = s.Counters(); err != nil {
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
