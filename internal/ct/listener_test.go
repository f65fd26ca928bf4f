package ct

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/ti-mo/conntrack"
	"golang.org/x/sys/unix"

	"verdictd/internal/nfnl"
	"verdictd/internal/testkit"
)

func listen(t *testing.T, cfg ListenConfig) *Listener {
	t.Helper()
	l, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // one test closes it itself
	return l
}

// udpSocket opens a socket in the thread's namespace that may send anywhere.
func udpSocket(t *testing.T) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// sendFlows makes n new flows of one packet each, to ports from first on that nobody has to listen on.
func sendFlows(t *testing.T, conn *net.UDPConn, first, n int) {
	t.Helper()
	for port := first; port < first+n; port++ {
		if _, err := conn.WriteToUDP([]byte("x"), &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}); err != nil {
			t.Fatal(err)
		}
	}
}

// counted is what a Run in the background returns.
type counted struct {
	counts EventCounts
	err    error
}

func start(ctx context.Context, l *Listener) <-chan counted {
	done := make(chan counted, 1)
	go func() {
		counts, err := l.Run(ctx, Handler{})
		done <- counted{counts, err}
	}()
	return done
}

// await fails the test where Run does not end soon.
func await(t *testing.T, done <-chan counted) counted {
	t.Helper()
	select {
	case got := <-done:
		return got
	case <-time.After(20 * time.Second):
		t.Fatal("Run did not end within 20 s")
		panic("unreachable")
	}
}

func TestEventsEqualTheLedger(t *testing.T) {
	testkit.Namespace(t)
	const flows = 2000
	l := listen(t, ListenConfig{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := start(ctx, l)

	sendFlows(t, udpSocket(t), 20000, flows)
	table, err := conntrack.Dial(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = table.Close() }()
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
	cancel()
	got := await(t, done)
	if got.err != nil {
		t.Fatal(got.err)
	}

	want := Tally{New: flows, Destroy: flows}
	if udp := got.counts.Protocols[unix.IPPROTO_UDP]; udp != want {
		t.Errorf("udp %+v, want %+v", udp, want)
	}
	if got.counts.Lost != 0 || got.counts.LostEvents.N != 0 || got.counts.Undecodable != 0 {
		t.Errorf("lost something: %+v", got.counts)
	}
}

func TestEventsByProtocol(t *testing.T) {
	testkit.Namespace(t)
	l := listen(t, ListenConfig{})

	server, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	client, err := net.Dial("tcp4", server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	sendFlows(t, udpSocket(t), 20000, 3)
	// ICMP echo requests, the first with its checksum: the kernel fills in that of ICMPv6.
	sendRaw(t, "ip4:icmp", "127.0.0.1", []byte{8, 0, 0xf7, 0xfd, 0, 1, 0, 1})
	sendRaw(t, "ip6:ipv6-icmp", "::1", []byte{128, 0, 0, 0, 0, 1, 0, 1})
	sendRaw(t, "ip4:253", "127.0.0.1", []byte{42}) // a number for experiments (RFC 3692)

	// All has been sent, so a Run that is over before it begins still has to find it.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	counts, err := l.Run(ctx, Handler{})
	if err != nil {
		t.Fatal(err)
	}
	var sum Tally
	for protocol, want := range map[string]uint64{"tcp": 1, "udp": 3, "icmp": 1, "icmpv6": 1, "253": 1} {
		found := false
		for p, tally := range counts.Protocols {
			if p.String() != protocol {
				continue
			}
			found = true
			if tally.New != want {
				t.Errorf("%s: %d new, want %d", protocol, tally.New, want)
			}
			sum.New += tally.New
		}
		if !found {
			t.Errorf("no event of %s", protocol)
		}
	}
	if counts.Total.New != sum.New {
		t.Errorf("%d new in total, but %d by protocol", counts.Total.New, sum.New)
	}
	if counts.Protocols[unix.IPPROTO_TCP].Update == 0 {
		t.Error("a TCP handshake changes its entry, but there is no update")
	}
}

func sendRaw(t *testing.T, network, to string, packet []byte) {
	t.Helper()
	conn, err := net.DialIP(network, nil, &net.IPAddr{IP: net.ParseIP(to)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write(packet); err != nil {
		t.Fatal(err)
	}
}

// The receive buffer is made to overrun; the kernel's number of dropped events and those received have to add up to
// those sent, and events sent after the loss have to be counted.
func TestLossIsCountedAndDoesNotEndIt(t *testing.T) {
	testkit.Namespace(t)
	const overrun, later = 500, 50
	l := listen(t, ListenConfig{ReceiveBuffer: 4096})
	socket := udpSocket(t)
	sendFlows(t, socket, 20000, overrun) // nobody receives yet

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := start(ctx, l)
	for i := range later {
		waitEmpty(t, l)
		sendFlows(t, socket, 30000+i, 1)
	}
	cancel()
	got := await(t, done)
	if got.err != nil {
		t.Fatal(got.err)
	}

	received, dropped := got.counts.Total.New, got.counts.LostEvents
	t.Logf("%d received, %v dropped, told %d times", received, dropped, got.counts.Lost)
	if got.counts.Lost == 0 {
		t.Error("the receive buffer overran, but no loss was counted")
	}
	if received <= later || received >= overrun {
		t.Errorf("%d events received: want the %d after the loss and a few before it", received, later)
	}
	if !dropped.Sent || received+dropped.N != overrun+later {
		t.Errorf("%d received and %v dropped, want %d together", received, dropped, overrun+later)
	}
	checkLosses(t, got.counts)
}

// checkLosses checks that the losses one by one make up the whole, and took time.
func checkLosses(t *testing.T, counts EventCounts) {
	t.Helper()
	var sum uint64
	for i, loss := range counts.Losses {
		sum += loss.Events.N
		if !loss.To.After(loss.From) || loss.Events.N == 0 || i > 0 && loss.From.Before(counts.Losses[i-1].To) {
			t.Errorf("loss %d of %+v: want times in order, and events", i, counts.Losses)
		}
	}
	if sum != counts.LostEvents.N {
		t.Errorf("the losses make up %d events, want all %d", sum, counts.LostEvents.N)
	}
}

// waitEmpty waits until the listener has received all there is.
func waitEmpty(t *testing.T, l *Listener) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if memory(t, l).Used == 0 {
			return
		}
	}
	t.Fatal("the receive buffer was not emptied within 20 s")
}

func memory(t *testing.T, l *Listener) nfnl.Memory {
	t.Helper()
	memory, ok := l.socket.Memory()
	if !ok {
		t.Fatal("cannot read SO_MEMINFO")
	}
	return memory
}

// A loss that is told only while the rest is drained must be counted as well.
func TestLossIsCountedWhileDraining(t *testing.T) {
	testkit.Namespace(t)
	const flows = 500
	l := listen(t, ListenConfig{ReceiveBuffer: 4096})
	sendFlows(t, udpSocket(t), 20000, flows)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	counts, err := l.Run(ctx, Handler{})
	if err != nil {
		t.Fatal(err)
	}
	if counts.Lost != 1 || counts.Total.New+counts.LostEvents.N != flows {
		t.Errorf("counted %+v: want one loss, and %d new and lost events together", counts, flows)
	}
	checkLosses(t, counts)
}

func TestRunEndsOnCancel(t *testing.T) {
	testkit.Namespace(t)
	l := listen(t, ListenConfig{})
	ctx, cancel := context.WithCancel(t.Context())
	done := start(ctx, l)
	select {
	case got := <-done:
		t.Fatalf("Run ended by itself: %+v, %v", got.counts, got.err)
	case <-time.After(50 * time.Millisecond):
	}
	cancel()
	if got := await(t, done); got.err != nil {
		t.Errorf("cancelled Run: %v", got.err)
	}
	// It has left the groups: otherwise it might never have found an end.
	sendFlows(t, udpSocket(t), 20000, 3)
	if m := memory(t, l); m.Used != 0 {
		t.Errorf("events still come after Run has ended: %+v", m)
	}
}

func TestReceiveBuffer(t *testing.T) {
	testkit.Namespace(t)
	const small = 64 << 10 // below net.core.rmem_max everywhere
	if got := listen(t, ListenConfig{ReceiveBuffer: small}).ReceiveBuffer(); got != small {
		t.Errorf("got a buffer of %d bytes, want the %d asked for", got, small)
	}
	// Without privileges net.core.rmem_max caps it; with, it is what was asked for.
	if got := listen(t, ListenConfig{}).ReceiveBuffer(); got <= 0 || got > DefaultReceiveBuffer {
		t.Errorf("got a buffer of %d bytes after asking for %d", got, DefaultReceiveBuffer)
	}
}
