package ruleset

import (
	"errors"
	"fmt"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"verdictd/internal/packet"
)

// Errors of the settled set to branch on.
var (
	ErrFull      = errors.New("the settled set is full")
	ErrNoSettled = errors.New("no settled set")
)

// Tuple is a flow in one direction.
type Tuple = packet.Key

// Settled lists flows whose packets pass in the kernel. It belongs to the network
// namespace of the thread that made it. Its methods may be called from any
// goroutine, one at a time.
type Settled struct {
	table   string
	timeout time.Duration // 0: the set's own
	conn    *nftables.Conn
	port    uint32
}

// newSettled opens a connection that lasts, as flows are listed many times a
// second.
func newSettled(table string, timeout time.Duration) (*Settled, error) {
	s := &Settled{table: table, timeout: timeout}
	var err error
	s.conn, err = nftables.New(nftables.AsLasting(), nftables.WithSockOptions(room, func(c *netlink.Conn) error {
		s.port = c.PID()
		return nil
	}))
	if err != nil {
		return nil, fmt.Errorf("open a connection to list flows in table inet %s: %w", table, err)
	}
	return s, nil
}

// Port is the netlink port of the connection, by which what it changes is told
// from what others do.
func (s *Settled) Port() uint32 { return s.port }

// Close ends the connection. The set stays.
func (s *Settled) Close() error { return s.conn.CloseLasting() }

// perMessage bounds the elements of a message: its list of them must fit one
// netlink attribute (64 KiB), and one takes up to 64 bytes.
const perMessage = 512

// Add lists flows, each in both directions, in one transaction: all or none.
// What is no UDP is left out, and what is listed stays so. ErrFull: the set has
// no room for all, and none is listed.
func (s *Settled) Add(flows []Tuple) error {
	conn := s.conn
	if err := s.put(flows, conn.SetAddElements, s.timeout); err != nil {
		return fmt.Errorf("list %d flows in table inet %s: %w", len(flows), s.table, err)
	}
	if err := conn.Flush(); err != nil {
		if errors.Is(err, unix.ENFILE) {
			err = ErrFull // errno as well would have thousands of lines
		}
		return fmt.Errorf("list %d flows in table inet %s: %w", len(flows), s.table, err)
	}
	return nil
}

// Delete takes flows out, each in both directions, in one transaction. Those that
// are not listed do not matter.
func (s *Settled) Delete(flows []Tuple) error {
	// The kernel refuses to delete what is not there, and elements go by
	// themselves: each is added before.
	conn := s.conn
	err := errors.Join(s.put(flows, conn.SetAddElements, s.timeout), s.put(flows, conn.SetDeleteElements, 0))
	if err == nil {
		err = conn.Flush()
	}
	if errors.Is(err, unix.ENFILE) {
		err = s.deleteEach(flows)
	}
	if err != nil {
		return fmt.Errorf("take %d flows out of the settled sets of table inet %s: %w", len(flows), s.table, err)
	}
	return nil
}

// deleteEach deletes one element at a time, which works where a set is full.
func (s *Settled) deleteEach(flows []Tuple) error {
	for i := range flows {
		for _, reverse := range []bool{false, true} {
			f := listedFamily(&flows[i])
			if f == nil {
				continue
			}
			conn := s.conn
			if err := conn.SetDeleteElements(s.set(f), []nftables.SetElement{{Key: f.element(&flows[i], reverse)}}); err != nil {
				return err
			}
			if err := conn.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
				return err
			}
		}
	}
	return nil
}

// put adds messages for the flows to a transaction.
func (s *Settled) put(flows []Tuple, with func(*nftables.Set, []nftables.SetElement) error, timeout time.Duration) error {
	for _, f := range families {
		var elements []nftables.SetElement
		send := func() error {
			if len(elements) == 0 {
				return nil
			}
			err := with(s.set(f), elements)
			elements = nil
			return err
		}
		for i := range flows {
			if listedFamily(&flows[i]) != f {
				continue
			}
			for _, reverse := range []bool{false, true} {
				elements = append(elements, nftables.SetElement{Key: f.element(&flows[i], reverse), Timeout: timeout})
			}
			if len(elements) >= perMessage {
				if err := send(); err != nil {
					return err
				}
			}
		}
		if err := send(); err != nil {
			return err
		}
	}
	return nil
}

// listedFamily is the family of a flow, nil for one that is not listed.
func listedFamily(k *Tuple) *ipFamily {
	for _, f := range families {
		if k[0] == f.version && k[1] == unix.IPPROTO_UDP {
			return f
		}
	}
	return nil
}

// set is how messages name a family's set.
func (s *Settled) set(f *ipFamily) *nftables.Set {
	return &nftables.Set{
		Table: &nftables.Table{Name: s.table, Family: family}, Name: f.settledName(),
		KeyType: f.keyType(), HasTimeout: true, Concatenation: true, Dynamic: true,
	}
}

// OpenSettled finds the settled sets of a table that an operator made, as the
// files in configs/nftables do. ErrNoSettled tells what is missing.
func OpenSettled(table string) (*Settled, error) {
	conn := &nftables.Conn{}
	sets, err := conn.GetSets(&nftables.Table{Name: table, Family: family})
	if err != nil {
		return nil, fmt.Errorf("%w in table inet %s: list its sets: %w", ErrNoSettled, table, err)
	}
	for _, f := range families {
		if err := usable(f, sets); err != nil {
			return nil, fmt.Errorf("%w in table inet %s: %w", ErrNoSettled, table, err)
		}
	}
	return newSettled(table, 0)
}

// usable tells what keeps a family's set from being one to list flows in.
func usable(f *ipFamily, sets []*nftables.Set) error {
	for _, s := range sets {
		if s.Name != f.settledName() {
			continue
		}
		if want := f.keyType(); s.KeyType.Name != want.Name || s.KeyType.Bytes != want.Bytes {
			return fmt.Errorf("set %s is of type %s: make it %s", s.Name, s.KeyType.Name, want.Name)
		}
		if !s.HasTimeout || s.Timeout == 0 {
			return fmt.Errorf("set %s has no timeout: give it one below conntrack's for UDP", s.Name)
		}
		return nil
	}
	return fmt.Errorf("there is no set %s", f.settledName())
}
