package census

import (
	"context"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/ct"
	"verdictd/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// awaited is a census that says when it has settled.
type awaited struct {
	*Census
	settled chan struct{}
}

func (a awaited) Settled() {
	a.Census.Settled()
	a.settled <- struct{}{}
}

// stalling is a census that waits for stall when it is told of a flow to port 1, which is the sign to lose events.
func stalling(c awaited, stall <-chan struct{}, losses chan<- struct{}) ct.Handler {
	return ct.Handler{
		Event: func(e *ct.Event) {
			if e.Orig.DstPort == 1 {
				<-stall
			}
			c.Event(e, time.Now())
		},
		Loss:   func(ct.Loss) { losses <- struct{}{} },
		Resync: c,
	}
}

// listening is a listener with a small buffer that can read the table.
func listening(t *testing.T, buffer int) *ct.Listener {
	t.Helper()
	l, err := ct.Listen(ct.ListenConfig{ReceiveBuffer: buffer, MaxReceiveBuffer: buffer})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	if err := l.OpenResync(); err != nil {
		t.Fatal(err)
	}
	return l
}

// TestLossIsPutRight has the kernel lose events of flows that begin, and then of flows that end: after each, the census
// has to hold what the kernel's table holds.
func TestLossIsPutRight(t *testing.T) {
	testkit.Namespace(t)
	const flows, buffer = 400, 8192
	l := listening(t, buffer)
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.Close() }()
	conn, err := ct.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()

	c := awaited{New(Config{}), make(chan struct{}, 10)}
	lossesSeen := make(chan struct{}, 10)
	stall := make(chan struct{})
	handler := stalling(c, stall, lossesSeen)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	var counts ct.EventCounts
	go func() {
		var err error
		counts, err = l.Run(ctx, handler)
		ended <- err
	}()
	await := func(what string, signal <-chan struct{}) {
		t.Helper()
		awaitBefore(t, ended, what, signal)
	}
	await("first reading", c.settled)
	sendTo(t, socket, 1)
	for port := range flows {
		sendTo(t, socket, 20000+port)
	}
	stall <- struct{}{}
	await("loss", lossesSeen)
	await("second reading", c.settled)
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	snapshot, err := conn.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if n := uint64(len(c.flows)); n != snapshot.Table.Entries.N || n != flows+1 {
		t.Errorf("%d flows are known, %v in the kernel's table, %d were made", n, snapshot.Table.Entries, flows+1)
	}
	s := c.Summary(10, time.Now())
	if lost := counts.LostEvents.N; s.Corrections.New != lost || lost == 0 || s.Corrections.Readings != 1 {
		t.Errorf("%+v: want one reading with all %d events that were lost", s.Corrections, lost)
	}
	if open := s.Open[unix.IPPROTO_UDP].Count; open+s.Corrections.New != flows+1 {
		t.Errorf("%d flows open since a known time and %d found later, want %d together", open, s.Corrections.New, flows+1)
	}
}

// awaitBefore waits for a signal that has to come before the end.
func awaitBefore(t *testing.T, ended <-chan error, what string, signal <-chan struct{}) {
	t.Helper()
	select {
	case <-signal:
	case err := <-ended:
		t.Fatalf("Run ended before %s: %v", what, err)
	case <-time.After(20 * time.Second):
		t.Fatalf("no %s within 20 s", what)
	}
}

func sendTo(t *testing.T, socket *net.UDPConn, port int) {
	t.Helper()
	if _, err := socket.WriteTo([]byte("x"), &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}); err != nil {
		t.Fatal(err)
	}
}
