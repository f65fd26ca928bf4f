package ruleset

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// refused waits for the error that a reject brings to a sender.
func (f *flow) refused() bool { return f.refusedWithin(surely) }

func (f *flow) refusedWithin(patience time.Duration) bool {
	f.t.Helper()
	for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(time.Millisecond) {
		var errno int
		raw, err := f.client.SyscallConn()
		if err == nil {
			err = raw.Control(func(fd uintptr) { errno, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR) })
		}
		if err != nil {
			f.t.Fatal(err)
		}
		if errno != 0 {
			return syscall.Errno(errno) == unix.ECONNREFUSED
		}
	}
	return false
}

// sendMaybe sends one datagram, which may bring the error of the one before.
func (f *flow) sendMaybe() {
	f.t.Helper()
	if _, err := f.client.Write([]byte("x")); err != nil && !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.ECONNREFUSED) {
		f.t.Fatal(err)
	}
}

// A flow of 10,000 packets costs user space one of them, in both directions, until another
// generation is in force.
func TestAcceptedFlow(t *testing.T) {
	bothFamilies(t, func(t *testing.T, ipv6 bool) {
		ns := testkit.Namespace(t)
		j := judged(t, flowRules(vocabulary.PlacementOutput))
		_, _, loopback := ends(ipv6)
		f := open(t, ns, ns, at(loopback))
		j.set(vocabulary.MarkAccept, true)
		for range 10_000 {
			f.deliver()
		}
		j.expect(t, "an accepted flow", 0)
		f.answer()
		j.expect(t, "its answer")

		before := j.rules.Generation()
		after, err := j.rules.Renew()
		if err != nil || after != packetMarks.Next(before) {
			t.Fatalf("generation %d behind %d, error %v", after, before, err)
		}
		j.set(vocabulary.MarkAccept, false)
		f.deliver()
		f.deliver()
		j.expect(t, "two packets in another generation", 0, 0)
	})
}

// A dropped flow is dropped in the kernel, whether conntrack has its entry or the first
// packet has taken it along; so is a rejected one, whose sender is told each time.
func TestRefusedFlow(t *testing.T) {
	for _, placement := range []vocabulary.Placement{vocabulary.PlacementOutput, vocabulary.PlacementPostrouting, vocabulary.PlacementInput, vocabulary.PlacementVerdict3} {
		t.Run(string(placement), func(t *testing.T) {
			bothFamilies(t, func(t *testing.T, ipv6 bool) {
				for _, established := range []bool{false, true} {
					for _, verdict := range []vocabulary.MarkVerdict{vocabulary.MarkDrop, vocabulary.MarkReject} {
						testRefusedFlow(t, placement, ipv6, established, verdict)
					}
				}
			})
		})
	}
}

func testRefusedFlow(t *testing.T, placement vocabulary.Placement, ipv6, established bool, verdict vocabulary.MarkVerdict) {
	ns := testkit.Namespace(t)
	j := judged(t, flowRules(placement))
	_, _, loopback := ends(ipv6)
	f := open(t, ns, ns, at(loopback))
	if established {
		f.deliver()
		j.expect(t, "first packet", 0)
	}
	j.set(verdict, true)
	told := verdict == vocabulary.MarkReject && placement != vocabulary.PlacementPostrouting && placement != vocabulary.PlacementVerdict3
	f.sendMaybe()
	if told && !f.refused() {
		t.Errorf("established %v: the sender of a rejected packet is not told", established)
	}
	count := 1
	if established {
		count = 2
	}
	j.await(t, count)
	for range 50 { // the kernel limits how many errors it sends
		f.sendMaybe()
	}
	if f.receive(hardly) {
		t.Errorf("established %v, verdict %d: delivered", established, verdict)
	}
	j.expect(t, "a refused flow", 0)

	if _, err := j.rules.Renew(); err != nil {
		t.Fatal(err)
	}
	j.set(vocabulary.MarkAccept, false)
	f.refusedBefore()
	f.deliver()
	j.expect(t, "in another generation", 0)
}

// refusedBefore takes an error that waits.
func (f *flow) refusedBefore() {
	f.t.Helper()
	raw, err := f.client.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { _, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR) })
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// connect opens a connection of TCP within some seconds.
func connect(t *testing.T, to net.Addr) (net.Conn, error) {
	t.Helper()
	c, err := (&net.Dialer{Timeout: surely}).Dial("tcp", to.String())
	if err == nil {
		t.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}

// A rejected connection is reset at once: one that begins, and one that is there.
func TestRejectedConnection(t *testing.T) {
	bothFamilies(t, func(t *testing.T, ipv6 bool) {
		for _, placement := range []vocabulary.Placement{vocabulary.PlacementOutput, vocabulary.PlacementInput} {
			for _, forFlow := range []bool{false, true} {
				testkit.Namespace(t)
				j := judged(t, flowRules(placement))
				_, _, loopback := ends(ipv6)
				server, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(loopback, 0)))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = server.Close() })
				accepted := make(chan net.Conn, 1)
				go func() {
					if c, err := server.Accept(); err == nil {
						accepted <- c
					}
				}()
				there, err := connect(t, server.Addr())
				if err != nil {
					t.Fatal(err)
				}
				// Until the handshake's last packet has its verdict, a rejection would be for that.
				select {
				case here := <-accepted:
					t.Cleanup(func() { _ = here.Close() })
				case <-time.After(surely):
					t.Fatalf("%s, flow %v: a connection that is there was not accepted", placement, forFlow)
				}
				j.take()

				j.set(vocabulary.MarkReject, forFlow)
				if _, err := connect(t, server.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
					t.Errorf("%s, flow %v: a new connection: error %v, want refused", placement, forFlow, err)
				}
				if _, err := there.Write([]byte("x")); err != nil {
					t.Fatal(err)
				}
				if err := there.SetReadDeadline(time.Now().Add(surely)); err != nil {
					t.Fatal(err)
				}
				if _, err := there.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) || err == nil {
					t.Errorf("%s, flow %v: a connection that is there: error %v, want reset", placement, forFlow, err)
				}
				j.expect(t, "SYN and data", 0, 0)
			}
		}
	})
}
