package ct_test

import (
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"verdictd/internal/ct"
	"verdictd/internal/kernel/kerneltest"
	"verdictd/internal/packet"
)

// key is a packet's, from its addresses.
func key(protocol uint8, src, dst netip.AddrPort) (k packet.Key) {
	k[0], k[1] = 4, protocol
	if src.Addr().Is6() {
		k[0] = 6
	}
	copy(k[4:], src.Addr().AsSlice())
	copy(k[20:], dst.Addr().AsSlice())
	k[36], k[37] = byte(src.Port()>>8), byte(src.Port())
	k[38], k[39] = byte(dst.Port()>>8), byte(dst.Port())
	return k
}

func TestLookup(t *testing.T) {
	kerneltest.Namespace(t)
	l, err := ct.NewLookup()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	confirmed := func(k packet.Key) bool {
		t.Helper()
		ok, err := l.Confirmed(&k)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	for _, address := range []string{"127.0.0.1", "::1"} {
		in, err := net.ListenPacket("udp", net.JoinHostPort(address, "0"))
		if err != nil {
			t.Fatal(err)
		}
		out, err := net.Dial("udp", in.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		src, dst := out.LocalAddr().(*net.UDPAddr).AddrPort(), in.LocalAddr().(*net.UDPAddr).AddrPort()
		k, reply := key(unix.IPPROTO_UDP, src, dst), key(unix.IPPROTO_UDP, dst, src)
		if confirmed(k) {
			t.Errorf("%s: an entry before the first packet", address)
		}
		if _, err := out.Write([]byte("hey")); err != nil {
			t.Fatal(err)
		}
		if !confirmed(k) || !confirmed(reply) {
			t.Errorf("%s: no entry in one direction or the other", address)
		}
		k[39]++
		if confirmed(k) {
			t.Errorf("%s: an entry of another port", address)
		}
		_, _ = in.Close(), out.Close()
	}
	// ICMP, and a protocol without a tracker of its own.
	raw, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(raw) }()
	if err := unix.Sendto(raw, []byte{8, 0, 0xf7, 0xf8, 0, 7, 0, 0}, 0, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	lo := netip.MustParseAddr("127.0.0.1")
	if !confirmed(key(unix.IPPROTO_ICMP, netip.AddrPortFrom(lo, 7), netip.AddrPortFrom(lo, 8<<8))) {
		t.Error("no entry of the echo")
	}
	other, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 253)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(other) }()
	k := key(253, netip.AddrPortFrom(lo, 0), netip.AddrPortFrom(lo, 0))
	if confirmed(k) {
		t.Error("an entry of protocol 253 before its packet")
	}
	if err := unix.Sendto(other, []byte("hey"), 0, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if !confirmed(k) {
		t.Error("no entry of protocol 253")
	}
}
