package main

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/config"
	"verdictd/internal/kernel"
	"verdictd/internal/kernel/kerneltest"
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
		"ICMP echo":             {unix.AF_INET, unix.IPPROTO_ICMP, echo, 0, true},
		"ICMPv6 echo":           {unix.AF_INET6, unix.IPPROTO_ICMPV6, echo6, 129, true},
		"GRE":                   {unix.AF_INET, unix.IPPROTO_GRE, plain, 0, false},
		"GRE, IPv6":             {unix.AF_INET6, unix.IPPROTO_GRE, plain, 0, false},
		"generic tracker":       {unix.AF_INET, 253, plain, 0, false}, // for experiments, RFC 3692
		"generic tracker, IPv6": {unix.AF_INET6, 253, plain, 0, false},
	} {
		for _, mode := range []config.GuardMode{config.GuardOff, config.GuardReinject} {
			t.Run(fmt.Sprintf("%s, guard %s", name, mode), func(t *testing.T) {
				r := newCopyRig(t, func(c *config.Config) {
					c.Guard.Mode = mode
					c.Rules.DestinationPorts = nil
					c.Rules.Protocols = []config.Protocol{config.Protocol(test.protocol)}
				})
				receiver := newRawSocket(t, r.remote, test.family, test.protocol)
				sender := newRawSocket(t, r.local, test.family, test.protocol)
				for n := range byte(4) {
					sender.send(test.payload(n))
				}
				if mode == config.GuardOff {
					// The kernel resolves clashes of some protocols, and drops the losers
					// of others (nf_conntrack_l4proto.allow_clash), ICMP among them.
					time.Sleep(50 * time.Millisecond)
					if s := r.daemon.stop(); s.Total.Received < 4 {
						t.Errorf("%d packets were judged, want 4", s.Total.Received)
					}
					if n := clashes(t); kerneltest.CountsClashes(t) && n != 3 {
						t.Errorf("%d clashes without the guard, want 3", n)
					}
					return
				}
				for n := range byte(4) {
					want := test.payload(n)
					if got := receiver.receive(want[0]); !bytes.Equal(got[4:], want[4:]) {
						t.Errorf("packet %d: % x, want % x", n, got, want)
					}
				}
				if test.answered {
					for n := range byte(4) {
						if got := sender.receive(test.answer); len(got) != 8 || got[7] != n {
							t.Errorf("answer %d: % x", n, got)
						}
					}
				}
				r.done(3)
			})
		}
	}
}

// rawSocket sends to the peer and receives what has its protocol.
type rawSocket struct {
	t      *testing.T
	fd     int
	family int
}

func newRawSocket(t *testing.T, ns *kernel.NetNS, family, protocol int) *rawSocket {
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
	var to unix.Sockaddr = &unix.SockaddrInet4{Addr: kerneltest.RemoteIPv4.Addr().As4()}
	if s.family == unix.AF_INET6 {
		to = &unix.SockaddrInet6{Addr: kerneltest.RemoteIPv6.Addr().As16()}
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
