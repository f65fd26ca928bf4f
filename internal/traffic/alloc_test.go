//go:build !race

package traffic

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/testkit"
)

func TestNoAllocationForAPacket(t *testing.T) {
	clk, err := newClock()
	if err != nil {
		t.Fatal(err)
	}
	b := packet(0, 0, 0)
	l := NewLedger(testRun, 3, 5, 2)
	broken, from := damaged(), netip.MustParseAddrPort("192.0.2.1:1024")
	in := newIntake(clk, NewLedger(testRun, 3, 5, 2), len(b), true)
	for i, p := range burst(1) {
		in.batch.msgs[i].Len = uint32(copy(in.batch.bufs[i], p))
	}
	for name, f := range map[string]func(){
		"encode":         func() { headers[1].Put(b) },
		"decode":         func() { _, _ = DecodeHeader(b) },
		"decode damaged": func() { _, _ = DecodeHeader(broken) },
		"ledger":         func() { l.Record(b, from); l.Record(broken, from) },
		"intake":         func() { in.take(5) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

// loadSockets are a receiver in a namespace of the test's own, a socket that sends to it, and a clock.
func loadSockets(t *testing.T) (target netip.AddrPort, receiver, fd int, clk clock) {
	t.Helper()
	testkit.Namespace(t)
	target = netip.MustParseAddrPort("127.0.0.1:9999")
	receiver, err := openReceiver(target, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(receiver) })
	fd, err = newDialer(target, false, time.Second).dial(netip.MustParseAddrPort("127.0.0.1:9998"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	clk, err = newClock()
	if err != nil {
		t.Fatal(err)
	}
	return target, receiver, fd, clk
}

func TestNoAllocationForABurst(t *testing.T) {
	target, receiver, fd, clk := loadSockets(t)
	var told answer
	for name, tt := range map[string]struct {
		whole bool
		fd    int
		do    func(*thread)
	}{
		"each":   {false, fd, func(t *thread) { t.at, t.spacing = clk.now()+1000, 1000 }},
		"whole":  {true, fd, func(*thread) {}},
		"tells":  {false, fd, func(t *thread) { t.answered = &told }},
		"answer": {false, receiver, func(t *thread) { t.reverse, t.answered = true, &told; t.address(target); told.tell() }},
	} {
		th := newThread(clk, Header{}, 4, 64, nil, tt.whole)
		th.fd = tt.fd
		tt.do(th)
		if n := testing.AllocsPerRun(100, func() { tt.do(th); th.burst() }); n != 0 || th.errnos.total() != 0 {
			t.Errorf("%s: %v allocations for a burst, %d failed sends", name, n, th.errnos.total())
		}
	}
}

func TestNoAllocationForAFlood(t *testing.T) {
	_, _, fd, clk := loadSockets(t)
	for _, pace := range []Pace{{}, {Rate: 1e9}} {
		cfg := DefaultFlood()
		cfg.Flows, cfg.Pace = 1, pace
		th := newFloodThread(clk, &cfg, 1, 0, make([]byte, cfg.Size-HeaderSize))
		th.fds = []int{fd}
		start := clk.now()
		if n := testing.AllocsPerRun(100, func() { th.step(start) }); n != 0 || th.failed != 0 || th.next.Load() < 100 {
			t.Errorf("pace %v: %v allocations a step, %d sent, %d failed", pace, n, th.next.Load(), th.failed)
		}
	}
}
