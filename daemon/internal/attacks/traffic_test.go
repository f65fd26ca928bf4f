package attacks

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/childtest"
	"verdictd/internal/netlab"
)

// port is where receivers listen, and what the rules queue.
const port = 5300

const headerBytes = 24

// flowNumber tells the flows of a test process apart.
var flowNumber atomic.Uint32

// A burst is packets of new flows, a socket each.
type burst struct {
	from    netip.Addr     // the zero value: the kernel's choice
	ports   uint16         // source port of the first flow, counted on for the others; 0: the kernel's choice
	to      netip.AddrPort //
	flows   int
	packets int                  // of each flow, one right after the other
	size    func(packet int) int // payload bytes; nil: the header alone
	pause   time.Duration        // between two flows
	spacing time.Duration        // between two packets of a flow
	control func(fd int) error   // socket options, set before the socket is bound
	closing bool                 // close each socket when its packets are sent, which hides their owner; otherwise all stay open
}

// send returns when all packets are on their way. What a rule drops in OUTPUT is no error here.
func (b burst) send(t testing.TB, ns *netlab.NetNS) {
	t.Helper()
	for i := range b.flows {
		from := netip.AddrPortFrom(b.from, 0)
		if b.ports != 0 {
			from = netip.AddrPortFrom(b.from, b.ports+uint16(i))
		}
		conn := dial(t, ns, from, b.to, b.control)
		b.sendFlow(t, conn)
		if b.closing {
			_ = conn.Close()
		} else {
			t.Cleanup(func() { _ = conn.Close() })
		}
		time.Sleep(b.pause)
	}
}

// sendFlow sends the packets of one flow.
func (b burst) sendFlow(t testing.TB, conn *net.UDPConn) {
	t.Helper()
	flow := flowNumber.Add(1)
	buf := make([]byte, 65000)
	for i := range b.packets {
		n := headerBytes
		if b.size != nil {
			n = max(n, b.size(i))
		}
		packet(buf, flow, uint32(i))
		if _, err := conn.Write(buf[:n]); err != nil && !droppedLocally(err) {
			t.Errorf("send: %v", err)
			return
		}
		if i < b.packets-1 {
			time.Sleep(b.spacing)
		}
	}
}

// droppedLocally: the answer to a packet that a rule drops in OUTPUT, and to one before it that nobody took.
func droppedLocally(err error) bool {
	return errors.Is(err, unix.EPERM) || errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.EHOSTUNREACH)
}

func packet(b []byte, flow, number uint32) {
	copy(b, "atck")
	binary.BigEndian.PutUint32(b[4:], flow)
	binary.BigEndian.PutUint32(b[8:], number)
	binary.BigEndian.PutUint64(b[16:], uint64(time.Now().UnixNano()))
}

// dial makes a connected UDP socket in a namespace.
func dial(t testing.TB, ns *netlab.NetNS, from, to netip.AddrPort, control func(fd int) error) *net.UDPConn {
	t.Helper()
	d := net.Dialer{Control: rawControl(control)}
	if from.Addr().IsValid() {
		d.LocalAddr = net.UDPAddrFromAddrPort(from)
	} else if from.Port() != 0 {
		d.LocalAddr = &net.UDPAddr{Port: int(from.Port())}
	}
	var conn net.Conn
	err := ns.Do(func() (err error) {
		conn, err = d.Dial("udp", to.String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return conn.(*net.UDPConn)
}

func rawControl(control func(fd int) error) func(string, string, syscall.RawConn) error {
	if control == nil {
		return nil
	}
	return func(_, _ string, c syscall.RawConn) error {
		var inner error
		return errors.Join(c.Control(func(fd uintptr) { inner = control(int(fd)) }), inner)
	}
}

// An arrival is one packet at a receiver.
type arrival struct {
	flow, number uint32
	sent, at     time.Time
	from, to     netip.AddrPort // to is where the receiver listens
	bytes        int
}

// A sink takes in what arrives at its sockets.
type sink struct {
	conns  []*net.UDPConn
	mu     sync.Mutex
	all    []arrival
	answer bool
}

// listen opens UDP sockets with large buffers, and receives until the test ends. Several calls can feed one sink by
// add.
func listen(t testing.TB, ns *netlab.NetNS, at ...netip.AddrPort) *sink {
	t.Helper()
	s := &sink{}
	s.add(t, ns, nil, at...)
	return s
}

// listenAnswering is listen by a server: each packet goes back where it came from.
func listenAnswering(t testing.TB, ns *netlab.NetNS, at ...netip.AddrPort) *sink {
	t.Helper()
	s := &sink{answer: true}
	s.add(t, ns, nil, at...)
	return s
}

// add opens further sockets, perhaps with options.
func (s *sink) add(t testing.TB, ns *netlab.NetNS, control func(fd int) error, at ...netip.AddrPort) {
	t.Helper()
	lc := net.ListenConfig{Control: rawControl(control)}
	for _, a := range at {
		var conn net.PacketConn
		err := ns.Do(func() (err error) {
			conn, err = lc.ListenPacket(t.Context(), "udp", a.String())
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		s.take(t, conn.(*net.UDPConn))
	}
}

// take receives from a socket that is there already, such as a sender's that waits for answers.
func (s *sink) take(t testing.TB, conn *net.UDPConn) {
	t.Helper()
	childtest.Roomy(t, conn)
	s.conns = append(s.conns, conn)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.receive(conn)
	}()
	t.Cleanup(func() { _ = conn.Close(); <-ended })
}

func (s *sink) receive(conn *net.UDPConn) {
	to := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	buf := make([]byte, 65536)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		switch {
		case errors.Is(err, unix.ECONNREFUSED):
			continue // an ICMP error for something sent from here
		case err != nil:
			return
		}
		now := time.Now()
		if n < headerBytes || string(buf[:4]) != "atck" {
			continue
		}
		s.mu.Lock()
		s.all = append(s.all, arrival{
			flow: binary.BigEndian.Uint32(buf[4:]), number: binary.BigEndian.Uint32(buf[8:]),
			sent: time.Unix(0, int64(binary.BigEndian.Uint64(buf[16:]))), at: now,
			from: netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), to: to, bytes: n,
		})
		s.mu.Unlock()
		if s.answer {
			_, _ = conn.WriteToUDPAddrPort(buf[:n], from) // a lost answer shows where it is missed
		}
	}
}

// await returns when so many packets have arrived, or nothing has for a while. A test that waits for a CPU meanwhile
// has not waited for packets, and what waits in a socket has come.
func (s *sink) await(n int, quiet time.Duration) {
	const most = 25 * time.Millisecond // that counts at once
	had, waited := 0, time.Duration(0)
	for last := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		now, have := time.Now(), len(s.arrivals())
		waited += min(now.Sub(last), most)
		if have != had || s.unread() {
			waited = 0
		}
		last, had = now, have
		if have >= n || waited > quiet {
			return
		}
	}
}

// unread reports whether packets wait in a socket.
func (s *sink) unread() (some bool) {
	for _, conn := range s.conns {
		raw, err := conn.SyscallConn()
		if err != nil {
			continue
		}
		_ = raw.Control(func(fd uintptr) {
			n, err := unix.IoctlGetInt(int(fd), unix.SIOCINQ)
			some = some || err == nil && n > 0
		})
	}
	return some
}

// arrivals are what has come so far.
func (s *sink) arrivals() []arrival {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]arrival(nil), s.all...)
}

// count says how many different packets arrived, how many came twice, and how many behind a later one of their flow.
func count(arrivals []arrival) (distinct, duplicated, reordered int) {
	type id struct{ flow, number uint32 }
	seen, highest := map[id]bool{}, map[uint32]uint32{}
	for _, a := range arrivals {
		if seen[id{a.flow, a.number}] {
			duplicated++
			continue
		}
		seen[id{a.flow, a.number}] = true
		distinct++
		if h, ok := highest[a.flow]; ok && a.number < h {
			reordered++
		}
		highest[a.flow] = max(highest[a.flow], a.number)
	}
	return distinct, duplicated, reordered
}

// A stream is a flow that sends steadily, to see by its gaps what others suffer.
type stream struct {
	stopped chan struct{}
	sent    chan int
}

// startStream sends a packet every interval until it is stopped.
func startStream(t testing.TB, conn *net.UDPConn, every time.Duration) *stream {
	t.Helper()
	s := &stream{stopped: make(chan struct{}), sent: make(chan int, 1)}
	flow, buf := flowNumber.Add(1), make([]byte, headerBytes)
	go func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-s.stopped:
				s.sent <- n
				return
			case <-tick.C:
				packet(buf, flow, uint32(n))
				_, _ = conn.Write(buf) // a loss shows at the receiver
			}
		}
	}()
	return s
}

// stop ends the stream and tells how many packets it sent.
func (s *stream) stop() int {
	close(s.stopped)
	return <-s.sent
}

// delay is the longest time from sending to arrival.
func delay(arrivals []arrival) (longest time.Duration) {
	for _, a := range arrivals {
		longest = max(longest, a.at.Sub(a.sent))
	}
	return longest
}

// slower is how many packets were on their way for longer.
func slower(arrivals []arrival, than time.Duration) (n int) {
	for _, a := range arrivals {
		if a.at.Sub(a.sent) > than {
			n++
		}
	}
	return n
}
