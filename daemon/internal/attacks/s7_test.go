package attacks

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/childtest"
	"verdictd/internal/netlab"
)

// TestExtensionHeadersHidePort: a port hides behind extension headers. The policy drops it and accepts by default.
// Packets that the decoder follows to their end are dropped by the rule, others as undecodable.
func TestExtensionHeadersHidePort(t *testing.T) {
	const packets = 4
	for name, test := range map[string]struct {
		policy  string
		headers []int
	}{
		"undecodable dropped":  {"policy: {", []int{1, 2, 8, 16, 17, 40, 59, 60, 100}},
		"undecodable accepted": {"policy: {undecodable: accept, ", []int{1, 2, 8}},
	} {
		t.Run(name, func(t *testing.T) {
			sideBySide(t, scenario{
				guard: patient, arrive: packets,
				play: func(r *run) outcome {
					h := routed(r, "ipv6")
					r.daemon(h.Queue, strings.Replace(dropPort, "policy: {", test.policy, 1)+"rules: {placement: forward}")
					in := listen(r, h.Receiver, h.target(port), h.target(other))
					for i, headers := range test.headers {
						for n := range packets {
							sendBehind(r, h.Sender, h.Sources, h.target(port), uint16(6000+i), headers, uint32(n))
						}
					}
					burst{to: h.target(other), flows: 1, packets: packets}.send(r, h.Sender)
					return r.end(in, packets)
				},
				more: dropsPort,
			})
		})
	}
}

// TestUndecodable: packets whose extension headers are longer than they are go as the policy says, and are counted.
func TestUndecodable(t *testing.T) {
	const packets = 4
	for policy, pass := range map[string]int{"policy: {default: accept}": 0, "policy: {undecodable: accept}": packets} {
		t.Run(policy, func(t *testing.T) {
			sideBySide(t, scenario{
				arrive: 4,
				play: func(r *run) outcome {
					h := routed(r, "ipv6")
					// The receiver's kernel does not take them either: they are counted before.
					countAt(r, h.Receiver, map[string]string{"undecodable": "ip6 nexthdr 60"})
					// The daemon's own rules are for protocols, and these packets have none.
					childtest.Shell(r, h.Queue, "ip6tables -t mangle -A FORWARD -j NFQUEUE --queue-num 0 --queue-bypass")
					r.daemon(h.Queue, policy+"\nrules: {install: false}")
					in := listen(r, h.Receiver, h.target(port))
					for range packets {
						b := make([]byte, 40+8)
						b[0], b[5], b[6], b[7] = 6<<4, 8, unix.IPPROTO_DSTOPTS, 64
						copy(b[8:24], h.Sources.AsSlice())
						copy(b[24:40], h.Target.AsSlice())
						b[40], b[41] = unix.IPPROTO_UDP, 9 // 80 bytes
						sendRaw(r, h.Sender, b, h.Target)
					}
					burst{to: h.target(port), flows: 1, packets: 4}.send(r, h.Sender)
					o := r.end(in, 4)
					if n, u := counted(r, h.Receiver, "undecodable"), o.statistics.Total.Undecodable; n != pass || u != packets {
						r.Errorf("%d passed, %d counted; want %d and %d", n, u, pass, packets)
					}
					return o
				},
			})
		})
	}
}

// sendBehind sends a UDP packet behind so many destination options headers.
func sendBehind(t testing.TB, ns *netlab.NetNS, from netip.Addr, to netip.AddrPort, fromPort uint16, headers int, number uint32) {
	t.Helper()
	b := make([]byte, 40+8*headers+8+headerBytes)
	b[0] = 6 << 4
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
	b[6], b[7] = unix.IPPROTO_DSTOPTS, 64
	copy(b[8:24], from.AsSlice())
	copy(b[24:40], to.Addr().AsSlice())
	for i := range headers {
		option := b[40+8*i:]
		option[0] = unix.IPPROTO_DSTOPTS
		if i == headers-1 {
			option[0] = unix.IPPROTO_UDP
		}
		option[2], option[3] = 1, 4 // PadN
	}
	udp := b[40+8*headers:]
	binary.BigEndian.PutUint16(udp, fromPort)
	binary.BigEndian.PutUint16(udp[2:], to.Port())
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
	packet(udp[8:], 1<<31+uint32(headers), number)
	binary.BigEndian.PutUint16(udp[6:], checksum(b[8:40], udp))
	sendRaw(t, ns, b, to.Addr())
}

// sendRaw sends an IPv6 packet as it is.
func sendRaw(t testing.TB, ns *netlab.NetNS, b []byte, to netip.Addr) {
	t.Helper()
	err := ns.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_RAW)
		if err != nil {
			return fmt.Errorf("open a raw socket: %w", err)
		}
		defer func() { _ = unix.Close(fd) }()
		return unix.Sendto(fd, b, 0, &unix.SockaddrInet6{Addr: to.As16()})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// checksum is that of UDP over IPv6.
func checksum(addresses, udp []byte) uint16 {
	sum := uint32(unix.IPPROTO_UDP) + uint32(len(udp))
	for _, part := range [][]byte{addresses, udp} {
		for i := 0; i+1 < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
