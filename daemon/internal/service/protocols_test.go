package service

import (
	"bytes"
	"errors"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/config"
	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// TestOtherProtocols sends bursts of what conntrack tracks besides UDP.
func TestOtherProtocols(t *testing.T) {
	echo := func(n byte) []byte { // ICMP echo of identifier 7
		b := []byte{8, 0, 0, 0, 0, 7, 0, n}
		sum := uint16(8)<<8 + 7 + uint16(n)
		b[2], b[3] = byte(^sum>>8), byte(^sum)
		return b
	}
	echo6 := func(n byte) []byte { return []byte{128, 0, 0, 0, 0, 7, 0, n} } // the kernel fills in the checksum
	plain := func(n byte) []byte { return []byte{0, 0, 0, 0, n, n, n, n} }
	for name, test := range map[string]struct {
		family, protocol int
		payload          func(byte) []byte
		answer           byte // its ICMP type, where answered
		answered         bool
	}{
		"ICMP echo":   {unix.AF_INET, unix.IPPROTO_ICMP, echo, 0, true},
		"ICMPv6 echo": {unix.AF_INET6, unix.IPPROTO_ICMPV6, echo6, 129, true},
		"GRE":         {unix.AF_INET, unix.IPPROTO_GRE, plain, 0, false},
		"GRE, IPv6":   {unix.AF_INET6, unix.IPPROTO_GRE, plain, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			bothModes(t, func(t *testing.T, mode vocabulary.GuardMode) {
				r := newRig(t, mode, func(c *config.Config) {
					c.Rules.DestinationPorts = nil
					c.Rules.Protocols = []vocabulary.Protocol{vocabulary.Protocol(test.protocol)}
				})
				receiver := newRawSocket(t, r.remote, test.family, test.protocol)
				sender := newRawSocket(t, r.local, test.family, test.protocol)
				for n := range byte(4) {
					sender.send(test.payload(n))
				}
				if mode == vocabulary.GuardOff {
					// The kernel resolves clashes of some protocols, and drops the losers
					// of others (nf_conntrack_l4proto.allow_clash), ICMP among them.
					time.Sleep(50 * time.Millisecond)
					if s := r.done(1); s.Total.Received < 4 {
						t.Errorf("%d packets were judged, want 4", s.Total.Received)
					}
					return
				}
				for n := range byte(4) {
					sent := test.payload(n)
					if got := receiver.receive(sent[0]); !bytes.Equal(got[4:], sent[4:]) {
						t.Errorf("packet %d: % x, want % x", n, got, sent)
					}
				}
				if test.answered {
					for n := range byte(4) {
						if got := sender.receive(test.answer); len(got) != 8 || got[7] != n {
							t.Errorf("answer %d: % x", n, got)
						}
					}
				}
				r.done(1)
			})
		})
	}
}

// TestGenericTracker: what conntrack tracks by addresses alone is not the gate's, and
// passes as without it.
func TestGenericTracker(t *testing.T) {
	for name, family := range map[string]int{"IPv4": unix.AF_INET, "IPv6": unix.AF_INET6} {
		t.Run(name, func(t *testing.T) {
			bothModes(t, func(t *testing.T, mode vocabulary.GuardMode) {
				const experiment = 253 // RFC 3692
				r := newRig(t, mode, func(c *config.Config) {
					c.Rules.DestinationPorts = nil
					c.Rules.Protocols = []vocabulary.Protocol{experiment}
				})
				sender := newRawSocket(t, r.local, family, experiment)
				for n := range byte(4) {
					sender.send([]byte{0, 0, 0, 0, n, n, n, n})
				}
				time.Sleep(50 * time.Millisecond)
				s := r.daemon.stop()
				if s.Total.Received != 4 || s.Total.Accepted != 4 || s.Guard != string(vocabulary.GuardOff) || s.Gate != nil {
					t.Errorf("guard %s, %+v, gate %+v; want 4 packets to be judged, and no gate", s.Guard, s.Total, s.Gate)
				}
			})
		})
	}
}

// TestUDPLite is a protocol that Go's net package does not know.
func TestUDPLite(t *testing.T) {
	bothModes(t, func(t *testing.T, mode vocabulary.GuardMode) {
		r := newRig(t, mode, func(c *config.Config) { c.Rules.Protocols = []vocabulary.Protocol{unix.IPPROTO_UDPLITE} })
		to := &unix.SockaddrInet4{Addr: testkit.RemoteIPv4.Addr().As4(), Port: port}
		in, out := udpLite(t, r.remote, to), udpLite(t, r.local, &unix.SockaddrInet4{})
		for n := range byte(4) {
			if err := unix.Sendto(out, []byte{n}, 0, to); err != nil {
				t.Fatal(err)
			}
		}
		if err := unix.SetsockoptTimeval(in, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 2}); err != nil {
			t.Fatal(err)
		}
		for n := range byte(4) {
			b := make([]byte, 10)
			if got, _, err := unix.Recvfrom(in, b, 0); err != nil || got != 1 || b[0] != n {
				t.Errorf("packet %d: % x, %v", n, b[:max(got, 0)], err)
			}
		}
		r.done(1)
	})
}

func udpLite(t *testing.T, ns *netlab.NetNS, address unix.Sockaddr) (fd int) {
	t.Helper()
	err := ns.Do(func() (err error) {
		if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.IPPROTO_UDPLITE); err != nil {
			return err
		}
		return unix.Bind(fd, address)
	})
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		t.Skip("this kernel has no UDP-Lite sockets")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

// TestTCPDoesNotPassTheGate: it is judged, and the guard has nothing to do.
func TestTCPDoesNotPassTheGate(t *testing.T) {
	bothModes(t, func(t *testing.T, mode vocabulary.GuardMode) {
		r := newRig(t, mode, func(c *config.Config) { c.Rules.Protocols = []vocabulary.Protocol{unix.IPPROTO_TCP, unix.IPPROTO_UDP} })
		var l net.Listener
		if err := r.remote.Do(func() (err error) { l, err = net.Listen("tcp", remotes["IPv4"].String()); return err }); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		go func() {
			if c, err := l.Accept(); err == nil {
				_, _ = c.Write([]byte("hello"))
				_ = c.Close()
			}
		}()
		c, err := net.DialTimeout("tcp", remotes["IPv4"].String(), 2*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 10)
		if n, err := c.Read(b); string(b[:n]) != "hello" {
			t.Errorf("read %q, %v", b[:n], err)
		}
		_ = c.Close()
		s := r.daemon.stop()
		if s.Total.Received == 0 || s.Total.Accepted != s.Total.Received || s.Gate != nil && s.Gate.Total.Received != 0 {
			t.Errorf("verdicts %+v, gate %+v", s.Total, s.Gate)
		}
	})
}

// rawSocket sends to the peer and receives what has its protocol.
type rawSocket struct {
	t      *testing.T
	fd     int
	family int
}

func newRawSocket(t *testing.T, ns *netlab.NetNS, family, protocol int) *rawSocket {
	t.Helper()
	s := &rawSocket{t: t, family: family}
	err := ns.Do(func() (err error) {
		s.fd, err = unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(s.fd) })
	if err := unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 2}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *rawSocket) send(b []byte) {
	s.t.Helper()
	var to unix.Sockaddr = &unix.SockaddrInet4{Addr: testkit.RemoteIPv4.Addr().As4()}
	if s.family == unix.AF_INET6 {
		to = &unix.SockaddrInet6{Addr: testkit.RemoteIPv6.Addr().As16()}
	}
	if err := unix.Sendto(s.fd, b, 0, to); err != nil {
		s.t.Fatal(err)
	}
}

// receive returns what comes after the IP header of the next packet whose first
// byte is the given one: neighbour discovery comes by here too.
func (s *rawSocket) receive(first byte) []byte {
	s.t.Helper()
	for {
		b := make([]byte, 1500)
		n, _, err := unix.Recvfrom(s.fd, b, 0)
		if err != nil {
			s.t.Fatal(err)
		}
		b = b[:n]
		if s.family == unix.AF_INET {
			b = b[20:] // only IPv4's raw sockets give the header
		}
		if b[0] == first {
			return b
		}
	}
}
