package ct

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ti-mo/conntrack"
	"golang.org/x/sys/unix"

	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
)

// procColumns names the columns of /proc/net/stat/nf_conntrack that show a counter. Other columns show none, or
// nothing since long.
var procColumns = map[string]Counter{
	"clashres":       ClashResolve, // since 5.10; the column was called searched before
	"found":          Found,
	"invalid":        Invalid,
	"ignore":         Ignore,
	"chaintoolong":   ChainTooLong,
	"chainlength":    ChainTooLong, // the header's word for it, once delete_list
	"insert":         Insert,
	"insert_failed":  InsertFailed,
	"drop":           Drop,
	"early_drop":     EarlyDrop,
	"icmp_error":     Error,
	"search_restart": SearchRestart,
}

// procStats reads the thread's /proc/thread-self/net/stat/nf_conntrack: one set of counters for each CPU, in order.
func procStats(t *testing.T) (cpus []Counters, entries uint64) {
	t.Helper()
	const name = "/proc/thread-self/net/stat/nf_conntrack"
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	header := strings.Fields(lines[0])
	for _, line := range lines[1:] {
		fields := strings.Fields(line)
		if len(fields) != len(header) {
			t.Fatalf("%s: %d columns, but %d names", name, len(fields), len(header))
		}
		var counters Counters
		for i, field := range fields {
			n, err := strconv.ParseUint(field, 16, 32)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if header[i] == "entries" {
				entries = n
			}
			if c, ok := procColumns[header[i]]; ok {
				counters[c] = Value{N: n, Sent: true}
			}
		}
		cpus = append(cpus, counters)
	}
	return cpus, entries
}

func dial(t *testing.T) *Conn {
	t.Helper()
	conn, err := Dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return conn
}

func mustSnapshot(t *testing.T, conn *Conn) Snapshot {
	t.Helper()
	s, err := conn.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStatsEqualProcAndLibrary(t *testing.T) {
	testkit.Namespace(t)
	conn := dial(t)
	before := mustSnapshot(t, conn)
	if total := before.Total(); !total.Zero() {
		t.Errorf("a fresh namespace has counted %+v", total)
	}
	const flows, packets = 50, 4
	provoke(t, flows, packets)
	delta := mustSnapshot(t, conn).Since(before).Total()
	t.Logf("%v clashes resolved, %v entries not inserted, %v packets dropped",
		delta[ClashResolve], delta[InsertFailed], delta[Drop])
	if clashes := delta[ClashResolve]; testkit.CountsClashes(t) && clashes.Sent && clashes.N != flows*(packets-1) {
		t.Errorf("%v clashes resolved, want %d: all packets of a flow but one", clashes, flows*(packets-1))
	}

	library, err := conntrack.Dial(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = library.Close() }()

	// Entries expire on their own, so compare while they do not.
	var s Snapshot
	var proc []Counters
	var entries uint64
	var oracle []conntrack.Stats
	for range 100 {
		s = mustSnapshot(t, conn)
		proc, entries = procStats(t)
		if oracle, err = library.Stats(); err != nil {
			t.Fatal(err)
		}
		again := mustSnapshot(t, conn)
		if again.Total() == s.Total() && again.Table == s.Table {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}

	if s.Table.Entries.N != entries || entries == 0 {
		t.Errorf("%v entries by netlink, %d by proc; want the same and some", s.Table.Entries, entries)
	}
	if !s.Table.MaxEntries.Sent || s.Table.MaxEntries.N == 0 {
		t.Errorf("the table holds at most %v entries", s.Table.MaxEntries)
	}
	if len(proc) != len(s.CPUs) || len(oracle) != len(s.CPUs) {
		t.Fatalf("%d CPUs by netlink, %d by proc, %d by the library", len(s.CPUs), len(proc), len(oracle))
	}
	equalEach(t, s, proc, oracle)
}

// equalEach holds each CPU's counters against what others read.
func equalEach(t *testing.T, s Snapshot, proc []Counters, oracle []conntrack.Stats) {
	t.Helper()
	for i, cpu := range s.CPUs {
		for _, c := range AllCounters() {
			if v := cpu.Counters[c]; v.Sent && v != proc[i][c] {
				t.Errorf("CPU %d: %v is %v by netlink, %v by proc", cpu.CPU, c, v, proc[i][c])
			}
		}
		o := oracle[i]
		for c, want := range map[Counter]uint32{
			Found: o.Found, Invalid: o.Invalid, Ignore: o.Ignore, Insert: o.Insert, InsertFailed: o.InsertFailed,
			Drop: o.Drop, EarlyDrop: o.EarlyDrop, Error: o.Error, SearchRestart: o.SearchRestart,
		} {
			if got := cpu.Counters[c].N; cpu.CPU != int(o.CPUID) || got != uint64(want) {
				t.Errorf("CPU %d: %v is %d, by the library %d on CPU %d", cpu.CPU, c, got, want, o.CPUID)
			}
		}
	}
}

// A connection asks about the namespace it was opened in, wherever it is used.
func TestStatsAreThoseOfTheThreadsNamespace(t *testing.T) {
	testkit.Namespace(t)
	conn := dial(t)
	sendFlows(t, udpSocket(t), 20000, 5)

	other, err := netlab.NewNetNS()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	err = other.Do(func() error {
		elsewhere, err := Dial()
		if err != nil {
			return err
		}
		defer func() { _ = elsewhere.Close() }()
		for _, tc := range []struct {
			name    string
			conn    *Conn
			entries uint64
		}{{"here", elsewhere, 0}, {"there", conn, 5}} {
			s, err := tc.conn.Snapshot()
			if err != nil {
				return err
			}
			if s.Table.Entries.N != tc.entries {
				return fmt.Errorf("%v entries %s, want %d", s.Table.Entries, tc.name, tc.entries)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// Without CAP_NET_ADMIN the error has to say so.
func TestRefusedWithoutCapability(t *testing.T) {
	testkit.Require(t)
	statsErr, eventsErr := make(chan error, 1), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread, which has lost its capabilities, ends with the goroutine
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData // version 3 has two words of each set
		if err := unix.Capset(&header, &none[0]); err != nil {
			statsErr <- err
			eventsErr <- err
			return
		}
		conn, err := Dial()
		if err == nil {
			_, err = conn.Snapshot()
			_ = conn.Close()
		}
		statsErr <- err
		l, err := Listen(ListenConfig{})
		if err == nil {
			_ = l.Close()
		}
		eventsErr <- err
	}()
	for name, got := range map[string]error{"statistics": <-statsErr, "events": <-eventsErr} {
		if !errors.Is(got, unix.EPERM) || !strings.Contains(fmt.Sprint(got), "CAP_NET_ADMIN") {
			t.Errorf("%s without capabilities: error %v, want EPERM with the cure", name, got)
		}
	}
}
