package ruleset

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/florianl/go-nfqueue/v2"
	"golang.org/x/sys/unix"

	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// udpRules is a configuration that queues all UDP in one place.
func udpRules(p vocabulary.Placement, f vocabulary.Fanout, queues uint16) Config {
	return Config{
		Table:      "verdictd",
		Placement:  p,
		Fanout:     f,
		FirstQueue: 10,
		Queues:     queues,
		IPv4:       true,
		IPv6:       true,
		Protocols:  []uint8{unix.IPPROTO_UDP},
	}
}

// install installs rules in the calling thread's namespace for the test's time.
func install(t *testing.T, c Config) *Installed {
	t.Helper()
	i, err := Install(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.Remove(); err != nil && !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
	})
	return i
}

// A queued packet is one that a listener saw.
type queued struct {
	queue uint16
	hook  uint8
}

// A listener serves queues and writes down what arrives before it gives a
// verdict. A packet that has been delivered has been written down.
type listener struct {
	mu   sync.Mutex
	seen []queued
}

// take returns what was seen since the last call.
func (l *listener) take() []queued {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := l.seen
	l.seen = nil
	return seen
}

// takeQueues is take with the queues' numbers alone.
func (l *listener) takeQueues() []uint16 {
	var numbers []uint16
	for _, q := range l.take() {
		numbers = append(numbers, q.queue)
	}
	return numbers
}

// listen serves a configuration's queues in the calling thread's namespace. A
// verdict waits until something can be received from hold; nil holds nothing.
func listen(t *testing.T, c Config, hold <-chan struct{}) *listener {
	t.Helper()
	l := &listener{}
	var numbers []uint16
	for i := range c.Queues {
		numbers = append(numbers, c.FirstQueue+i)
	}
	if g := c.Gate; g != nil {
		for n := int(g.FirstQueue); n <= g.last(); n++ {
			numbers = append(numbers, uint16(n))
		}
	}
	for _, number := range numbers {
		q, err := nfqueue.Open(&nfqueue.Config{
			NfQueue:      number,
			MaxPacketLen: 0xffff,
			Copymode:     nfqueue.NfQnlCopyPacket,
			WriteTimeout: surely,
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		seen := func(a nfqueue.Attribute) int {
			l.mu.Lock()
			l.seen = append(l.seen, queued{number, *a.Hook})
			l.mu.Unlock()
			if hold != nil {
				select {
				case <-hold:
				case <-ctx.Done():
				}
			}
			if err := q.SetVerdict(*a.PacketID, nfqueue.NfAccept); err != nil {
				t.Errorf("verdict in queue %d: %v", number, err)
			}
			return 0
		}
		failed := func(err error) int {
			if hold != nil && errors.Is(err, syscall.ENOENT) {
				return 0 // the answer to a verdict for a packet that is gone
			}
			if ctx.Err() == nil {
				t.Errorf("queue %d: %v", number, err)
			}
			return 1
		}
		if err := q.RegisterWithErrorFunc(ctx, seen, failed); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			cancel()
			if err := q.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return l
}

// A flow is a UDP socket pair.
type flow struct {
	t              *testing.T
	client, server *net.UDPConn
}

// open makes a flow from a socket in one namespace to one at an address of
// another.
func open(t *testing.T, from, to *netlab.NetNS, at netip.AddrPort) *flow {
	t.Helper()
	f := &flow{t: t}
	err := to.Do(func() (err error) {
		f.server, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.server.Close() })
	f.dial(from)
	return f
}

// dial gives the flow a client with a new port.
func (f *flow) dial(from *netlab.NetNS) {
	f.t.Helper()
	f.dialFrom(from, nil)
}

// dialFrom gives the flow a client with a local address; nil: any.
func (f *flow) dialFrom(from *netlab.NetNS, local net.Addr) {
	f.t.Helper()
	dialer := net.Dialer{LocalAddr: local}
	err := from.Do(func() error {
		client, err := dialer.Dial("udp", f.server.LocalAddr().String())
		if err == nil {
			f.client = client.(*net.UDPConn)
		}
		return err
	})
	if err != nil {
		f.t.Fatal(err)
	}
	client := f.client
	f.t.Cleanup(func() { client.Close() })
}

// Deadlines for a packet that must arrive and for one that must not.
const (
	surely = 20 * time.Second
	hardly = 100 * time.Millisecond
)

// send sends one datagram.
func (f *flow) send(size int) {
	f.t.Helper()
	if _, err := f.client.Write(make([]byte, size)); err != nil && !errors.Is(err, syscall.EPERM) {
		f.t.Fatal(err) // EPERM: dropped in OUTPUT or POSTROUTING
	}
}

// receive waits for one datagram.
func (f *flow) receive(patience time.Duration) bool {
	f.t.Helper()
	if err := f.server.SetReadDeadline(time.Now().Add(patience)); err != nil {
		f.t.Fatal(err)
	}
	_, err := f.server.Read(make([]byte, 0xffff))
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		f.t.Fatal(err)
	}
	return err == nil
}

// deliver sends one datagram, which has to arrive.
func (f *flow) deliver() {
	f.t.Helper()
	f.send(1)
	if !f.receive(surely) {
		f.t.Fatalf("a datagram from %v to %v was lost", f.client.LocalAddr(), f.server.LocalAddr())
	}
}

// answer sends one datagram back, which has to arrive.
func (f *flow) answer() {
	f.t.Helper()
	if _, err := f.server.WriteTo([]byte("x"), f.client.LocalAddr()); err != nil {
		f.t.Fatal(err)
	}
	if err := f.client.SetReadDeadline(time.Now().Add(surely)); err != nil {
		f.t.Fatal(err)
	}
	if _, err := f.client.Read(make([]byte, 1)); err != nil {
		f.t.Fatal(err)
	}
}

// seenAt are the hooks in which packets were queued.
func seenAt(seen []queued) []uint8 {
	var list []uint8
	for _, q := range seen {
		list = append(list, q.hook)
	}
	return list
}

// bothFamilies runs a test once for IPv4 and once for IPv6.
func bothFamilies(t *testing.T, test func(t *testing.T, ipv6 bool)) {
	t.Run("IPv4", func(t *testing.T) { test(t, false) })
	t.Run("IPv6", func(t *testing.T) { test(t, true) })
}

// ends are the addresses of testkit.VethPair and of loopback.
func ends(ipv6 bool) (local, remote, loopback netip.Addr) {
	if ipv6 {
		return testkit.LocalIPv6.Addr(), testkit.RemoteIPv6.Addr(), netip.IPv6Loopback()
	}
	return testkit.LocalIPv4.Addr(), testkit.RemoteIPv4.Addr(), netip.MustParseAddr("127.0.0.1")
}

func at(a netip.Addr) netip.AddrPort { return netip.AddrPortFrom(a, 0) }

// distinctQueues sorts queue numbers and drops repetitions.
func distinctQueues(numbers []uint16) []uint16 {
	return slices.Compact(slices.Sorted(slices.Values(numbers)))
}
