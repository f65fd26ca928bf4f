package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"verdictd/internal/ct"
	"verdictd/internal/kernelfacts"
	"verdictd/internal/netlab"
)

// conntrackCounts is what conntrack counted during a run, in all namespaces that its packets ran through. A counter that the
// kernel does not have is null, and all are where conntrack cannot be read.
type conntrackCounts struct {
	// Clashes is resolved and unresolved clashes, as far as this kernel's counters tell: see ClashesCount.
	Clashes *uint64 `json:"clashes"`
	// ClashesPerPacket is Clashes by the packets that were sent.
	ClashesPerPacket *float64 `json:"clashes_per_packet"`
	// ClashesCount says what Clashes counts on this kernel, and what it misses.
	ClashesCount string  `json:"clashes_count"`
	ClashResolve *uint64 `json:"clash_resolve"`
	InsertFailed *uint64 `json:"insert_failed"`
	Drop         *uint64 `json:"drop"`
	ChainTooLong *uint64 `json:"chain_toolong"`
	// ConntrackUnread is why the counters could not be read; empty if they were.
	ConntrackUnread string `json:"conntrack_unread"`
}

// A tally reads conntrack's counters in some namespaces.
type tally struct {
	conns  []*ct.Conn
	before []ct.Snapshot
	last   []ct.Snapshot
	err    error
}

// openTally begins to count. Where it cannot, that is in the counts, and no error: on some machines there is no conntrack.
func openTally(paths []string) *tally {
	t := &tally{}
	seen := map[[2]uint64]bool{}
	for _, path := range paths {
		if t.err = t.open(path, seen); t.err != nil {
			break
		}
	}
	t.last = t.before
	return t
}

func (t *tally) open(path string, seen map[[2]uint64]bool) error {
	if path == "" {
		path = "/proc/thread-self/ns/net"
	}
	ns, err := netlab.OpenNetNS(path)
	if err != nil {
		return err
	}
	defer func() { _ = ns.Close() }() // opened for reading
	info, err := os.Stat(ns.Path())
	if err != nil {
		return fmt.Errorf("tell the network namespace %s from others: %w", path, err)
	}
	stat := info.Sys().(*syscall.Stat_t)
	id := [2]uint64{stat.Dev, stat.Ino}
	if seen[id] {
		return nil
	}
	seen[id] = true
	var conn *ct.Conn
	err = ns.Do(func() (err error) {
		conn, err = ct.Dial()
		return err
	})
	if err != nil {
		return err
	}
	t.conns = append(t.conns, conn)
	s, err := conn.Snapshot()
	if err != nil {
		return err
	}
	t.before = append(t.before, s)
	return nil
}

// read reads all counters anew.
func (t *tally) read() {
	if t.err != nil {
		return
	}
	now := make([]ct.Snapshot, len(t.conns))
	for i, conn := range t.conns {
		if now[i], t.err = conn.Snapshot(); t.err != nil {
			return
		}
	}
	t.last = now
}

// total is how much each counter rose.
func (t *tally) total() (sum ct.Counters) {
	for i := range t.last {
		sum = sum.Plus(t.last[i].Since(t.before[i]).Total())
	}
	return sum
}

// reached reads anew and says whether there were so many clashes, or whether they cannot be counted.
func (t *tally) reached(target uint64) bool {
	t.read()
	return t.err != nil || t.total().Clashes().N >= target
}

// counts reads anew for the last time, and closes.
func (t *tally) counts(packets uint64) (c conntrackCounts, err error) {
	t.read()
	c.ClashesCount = describeClashes(kernelfacts.CountersOf(kernelfacts.ReadBuild(os.DirFS("/")).Value))
	if t.err != nil {
		c.ConntrackUnread = t.err.Error()
		return c, t.close()
	}
	total := t.total()
	c.ClashResolve, c.InsertFailed = total[ct.ClashResolve].Pointer(), total[ct.InsertFailed].Pointer()
	c.Drop, c.ChainTooLong = total[ct.Drop].Pointer(), total[ct.ChainTooLong].Pointer()
	c.Clashes = total.Clashes().Pointer()
	if c.Clashes != nil && packets > 0 {
		c.ClashesPerPacket = new(float64(*c.Clashes) / float64(packets))
	}
	return c, t.close()
}

// short is an error where fewer clashes were counted than wanted.
func (c *conntrackCounts) short(want uint64) error {
	switch {
	case want == 0:
		return nil
	case c.Clashes == nil:
		return fmt.Errorf("clash: %d clashes wanted, and they could not be counted: %s", want, c.ConntrackUnread)
	case *c.Clashes < want:
		return fmt.Errorf("clash: %d clashes, not the %d wanted, as far as this kernel counts them: %s", *c.Clashes, want, c.ClashesCount)
	}
	return nil
}

func (t *tally) close() error {
	var errs []error
	for _, conn := range t.conns {
		errs = append(errs, conn.Close())
	}
	t.conns = nil
	return errors.Join(errs...)
}

// describeClashes says what [ct.Counters.Clashes] counts on a kernel, and what escapes it.
func describeClashes(m kernelfacts.CounterMeaning) string {
	text := "clash_resolve (resolved) and insert_failed (" + m.InsertFailed() + ")"
	if m.ClashResolve == kernelfacts.Missing {
		text = "insert_failed (" + m.InsertFailed() + ")"
	}
	if hidden := m.Hidden(); hidden != "" {
		text += "; " + hidden
	}
	return text
}
