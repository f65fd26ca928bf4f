package tally

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"verdictd/internal/ct"
	"verdictd/internal/kernelfacts"
	"verdictd/internal/liverules"
	"verdictd/internal/netlab"
	"verdictd/internal/results"
)

// A Tally reads conntrack's counters in some namespaces.
type Tally struct {
	conns  []*ct.Conn
	before []ct.Snapshot
	last   []ct.Snapshot
	err    error
	// tracking says of each namespace whether connections are tracked.
	tracking []liverules.Conntrack
}

// Open begins to count in the namespaces of these paths, each once; an empty one is the process's own. Where it cannot,
// that is in the counts, and no error: on some machines there is no conntrack.
func Open(paths []string) *Tally {
	t := &Tally{}
	seen := map[[2]uint64]bool{}
	for _, path := range paths {
		if t.err = t.open(path, seen); t.err != nil {
			break
		}
	}
	t.last = t.before
	return t
}

func (t *Tally) open(path string, seen map[[2]uint64]bool) error {
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
		rules, _ := liverules.Read() // what cannot be read leaves the answer open
		t.tracking = append(t.tracking, rules.Conntrack)
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

// Read reads all counters.
func (t *Tally) Read() {
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
func (t *Tally) total() (sum ct.Counters) {
	for i := range t.last {
		sum = sum.Plus(t.last[i].Since(t.before[i]).Total())
	}
	return sum
}

// Err is why nothing is counted, or no longer.
func (t *Tally) Err() error { return t.err }

// Clashes is how many there were up to the last reading.
func (t *Tally) Clashes() uint64 { return t.total().Clashes().N }

// End reads the counters for the last time, for so many packets, and closes.
func (t *Tally) End(packets uint64) (c results.Conntrack, err error) {
	t.Read()
	c.ClashesCount = describeClashes(kernelfacts.CountersOf(kernelfacts.ReadBuild(os.DirFS("/")).Value))
	if t.err != nil {
		c.ConntrackUnread = t.err.Error()
	} else {
		c.Take(t.total(), packets)
	}
	c.Untracked = t.untracked()
	return c, t.Close()
}

// untracked says why nothing can clash in any of the namespaces; empty where something may.
func (t *Tally) untracked() string {
	for _, c := range t.tracking {
		if c.IPv4 != liverules.No || c.IPv6 != liverules.No {
			return ""
		}
	}
	if len(t.tracking) == 0 {
		return ""
	}
	return "conntrack is not active there (" + t.tracking[0].Reason + "): --topology loopback makes a namespace where it is"
}

// Close ends the counting. It may be called again.
func (t *Tally) Close() error {
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
