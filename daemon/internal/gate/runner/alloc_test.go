//go:build !race

package runner

import (
	"errors"
	"net/netip"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/gate"
	"verdictd/internal/ruleset"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// TestAllocationsOfATurn: from the receipt of packets, of new flows and of one that
// goes on, to their verdicts, with the questions to conntrack in between.
func TestAllocationsOfATurn(t *testing.T) {
	testkit.Namespace(t)
	g, err := Open(Config{
		Table: gate.Default(), FirstQueue: 61440, Queues: 1, ReceiveBuffer: 8 << 20,
		ChainAdded: func() int64 { return 0 }, Own: func(uint16) (uint32, bool) { return 0, false }, Notice: func(s string) { t.Error(s) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := ruleset.Install(ruleset.Config{
		Table: "verdictd", Placement: vocabulary.PlacementNone, Fanout: vocabulary.FanoutBalance, Queues: 1, IPv4: true,
		Gate: &ruleset.Gate{FirstQueue: 61440, Queues: 1, Traffic: []ruleset.Traffic{{IPv4: true, Protocols: []uint8{unix.IPPROTO_UDP}}}},
	}); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()

	w := g.workers[0]
	payload := []byte("hey")
	to := &unix.SockaddrInet4{Addr: netip.MustParseAddr("127.0.0.1").As4(), Port: 1000}
	turn := func() {
		const flows, packets = 3, 3
		for f := range flows {
			if f > 0 {
				to.Port++
			}
			for range packets {
				if err := unix.Sendto(fd, payload, 0, to); err != nil && !errors.Is(err, unix.ECONNREFUSED) {
					t.Fatal(err)
				}
			}
		}
		for want := w.table.Counters.Received + flows*packets; w.table.Counters.Received < want || w.table.Held() > 0; {
			b, err := w.next()
			if err != nil {
				t.Fatal(err)
			}
			if err := w.turn(b); err != nil {
				t.Fatal(err)
			}
		}
	}
	turn()
	runtime.GC()
	if n := testing.AllocsPerRun(100, turn); n != 0 {
		t.Errorf("%v allocations a turn", n)
	}
	c := &w.table.Counters
	if c.Held == 0 || c.Held != c.Confirmed || c.First < 200 || c.Passed == 0 {
		t.Errorf("%+v; want first, passed, and held packets", c)
	}
}
