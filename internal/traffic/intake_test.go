package traffic

import (
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"verdictd/internal/testkit"
)

// TestStopTakesWhatIsThere: what has come to a socket has arrived, also where the thread that reads it does not run
// before it is stopped.
func TestStopTakesWhatIsThere(t *testing.T) {
	testkit.Namespace(t)
	clk, err := newClock()
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort("127.0.0.1:9")
	fd, err := openReceiver(at, 1<<16)
	if err != nil {
		t.Fatal(err)
	}
	const flows, packets = 1, 3 * receiveBatch / 2
	fill := func() *intake {
		in := newIntake(clk, NewLedger(testRun, flows, packets, 1), 40, true)
		in.stopped.Store(true)
		for seq := range uint16(packets) {
			if err := unix.Sendto(fd, packet(0, 0, seq), 0, new(sockaddr).set(at)); err != nil {
				t.Fatal(err)
			}
		}
		return in
	}
	check := func(what string, in *intake, err error) {
		t.Helper()
		if got := in.ledger.Counts(); err != nil || got != (Counts{Delivered: packets}) {
			t.Errorf("%s: %+v, %v; want all %d packets that were there", what, got, err, packets)
		}
	}

	in := fill()
	check("receiver", in, (&receiver{intake: in, fd: fd, arrivals: &event{}}).run())

	in = fill()
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{intake: in, epoll: epoll, events: make([]unix.EpollEvent, receiveBatch), arrivals: &event{}}
	if err := c.watch(fd); err != nil {
		t.Fatal(err)
	}
	check("collector", in, c.run())
	if err := errors.Join(unix.Close(epoll), unix.Close(fd)); err != nil {
		t.Error(err)
	}
}
