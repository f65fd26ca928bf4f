package packet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

var (
	src4 = netip.MustParseAddr("192.0.2.1")
	dst4 = netip.MustParseAddr("198.51.100.2")
	src6 = netip.MustParseAddr("2001:db8::1")
	dst6 = netip.MustParseAddr("2001:db8:ffff::2")
)

// ip4 is an IPv4 packet; options must be a multiple of four bytes.
func ip4(protocol uint8, options []byte, upper ...byte) []byte {
	b := make([]byte, ipv4HeaderLen, ipv4HeaderLen+len(options)+len(upper))
	b[0] = 0x45 + byte(len(options)/4)
	b[1] = 0xb8
	b[8] = 63
	b[9] = protocol
	copy(b[12:], src4.AsSlice())
	copy(b[16:], dst4.AsSlice())
	b = append(append(b, options...), upper...)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	return b
}

// ip6 is an IPv6 packet; rest is extension headers and upper layer.
func ip6(next uint8, rest ...byte) []byte {
	b := make([]byte, ipv6HeaderLen, ipv6HeaderLen+len(rest))
	binary.BigEndian.PutUint32(b, 6<<28|0xb8<<20|0x12345)
	binary.BigEndian.PutUint16(b[4:], uint16(len(rest)))
	b[6] = next
	b[7] = 63
	copy(b[8:], src6.AsSlice())
	copy(b[24:], dst6.AsSlice())
	return append(b, rest...)
}

func udp(payload string) []byte {
	b := []byte{0x30, 0x39, 0, 53, 0, 0, 0, 0}
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)+len(payload)))
	return append(b, payload...)
}

func tcp(payload string) []byte {
	b := make([]byte, 24)
	copy(b, []byte{0x30, 0x39, 0x01, 0xbb})
	b[12] = 6 << 4
	b[13] = 0x12
	return slices.Concat(b, []byte(payload))
}

func TestDecode(t *testing.T) {
	type facts struct {
		Protocol           uint8
		HeaderLen, Total   int
		Options, Fragment  bool
		More               bool
		Offset             int
		Ports              bool
		SrcPort, DstPort   uint16
		TCPFlags           uint8
		UDPLen             uint16
		ICMPType, ICMPCode uint8
		ICMPID, GRECallID  uint16
		Payload            string
		Truncated          bool
	}
	edit := func(b []byte, f func(b []byte)) []byte { f(b); return b }
	fragment4 := func(word uint16) func(b []byte) {
		return func(b []byte) { binary.BigEndian.PutUint16(b[6:], word) }
	}
	hop := []byte{unix.IPPROTO_UDP, 0, 1, 4, 0, 0, 0, 0}
	chain := slices.Concat(
		[]byte{unix.IPPROTO_DSTOPTS, 0, 1, 4, 0, 0, 0, 0},
		[]byte{unix.IPPROTO_ROUTING, 1, 1, 12, 15: 0},
		[]byte{unix.IPPROTO_FRAGMENT, 2, 0, 0, 23: 0},
		[]byte{unix.IPPROTO_AH, 0, 0, 0, 0, 0, 0, 7},
		[]byte{unix.IPPROTO_UDP, 4, 0, 0, 23: 0},
	)
	udpFacts := facts{Protocol: 17, Ports: true, SrcPort: 12345, DstPort: 53, UDPLen: 11, Payload: "dns"}
	with := func(f facts, change func(f *facts)) facts { change(&f); return f }

	for _, test := range []struct {
		name   string
		packet []byte
		want   facts
	}{
		{"udp4", ip4(17, nil, udp("dns")...), with(udpFacts, func(f *facts) { f.HeaderLen, f.Total = 20, 31 })},
		{"udp6", ip6(17, udp("dns")...), with(udpFacts, func(f *facts) { f.HeaderLen, f.Total = 40, 51 })},
		{
			"ipv4 options", ip4(17, []byte{1, 1, 1, 0}, udp("dns")...),
			with(udpFacts, func(f *facts) { f.HeaderLen, f.Total, f.Options = 24, 35, true }),
		},
		{
			"bytes after the end", append(ip4(17, nil, udp("dns")...), 0, 0, 0),
			with(udpFacts, func(f *facts) { f.HeaderLen, f.Total = 20, 31 }),
		},
		{
			"ipv4 length 0", edit(ip4(17, nil, udp("dns")...), func(b []byte) { b[2], b[3] = 0, 0 }),
			with(udpFacts, func(f *facts) { f.HeaderLen, f.Total = 20, 31 }),
		},
		{
			"ipv6 length 0", edit(ip6(17, udp("dns")...), func(b []byte) { b[5] = 0 }),
			with(udpFacts, func(f *facts) { f.HeaderLen, f.Total = 40, 51 }),
		},
		{
			"copy range cuts the payload", ip4(17, nil, udp("dns")...)[:29],
			with(udpFacts, func(f *facts) { f.HeaderLen, f.Total, f.Payload, f.Truncated = 20, 31, "d", true }),
		},
		{
			"hop by hop", ip6(0, append(slices.Clone(hop), udp("dns")...)...),
			with(udpFacts, func(f *facts) { f.HeaderLen, f.Total, f.Options = 48, 59, true }),
		},
		{
			"all extension headers", ip6(0, append(slices.Clone(chain), udp("dns")...)...),
			with(udpFacts, func(f *facts) {
				f.HeaderLen, f.Total, f.Options = 40+len(chain), 51+len(chain), true
			}),
		},
		{
			"udp-lite", ip4(136, nil, udp("dns")...),
			with(udpFacts, func(f *facts) { f.Protocol, f.HeaderLen, f.Total, f.UDPLen = 136, 20, 31, 0 }),
		},
		{
			"tcp", ip4(6, nil, tcp("get")...),
			facts{Protocol: 6, HeaderLen: 20, Total: 47, Ports: true, SrcPort: 12345, DstPort: 443, TCPFlags: 0x12, Payload: "get"},
		},
		{
			"tcp with a lying data offset", ip4(6, nil, edit(tcp("get"), func(b []byte) { b[12] = 4 << 4 })...),
			facts{Protocol: 6, HeaderLen: 20, Total: 47, Ports: true, SrcPort: 12345, DstPort: 443, TCPFlags: 0x12},
		},
		{
			"tcp in a tiny first fragment", edit(ip4(6, nil, tcp("")[:8]...), fragment4(0x2000)),
			facts{Protocol: 6, HeaderLen: 20, Total: 28, Fragment: true, More: true, Ports: true, SrcPort: 12345, DstPort: 443},
		},
		{
			"sctp", ip4(132, nil, append([]byte{0x30, 0x39, 0, 7, 11: 0}, "chunk"...)...),
			facts{Protocol: 132, HeaderLen: 20, Total: 37, Ports: true, SrcPort: 12345, DstPort: 7, Payload: "chunk"},
		},
		{
			"dccp", ip4(33, nil, append([]byte{0x30, 0x39, 0, 7, 4, 15: 0}, "data"...)...),
			facts{Protocol: 33, HeaderLen: 20, Total: 40, Ports: true, SrcPort: 12345, DstPort: 7, Payload: "data"},
		},
		{
			"icmp echo", ip4(1, nil, append([]byte{8, 0, 0, 0, 0x12, 0x34, 0, 1}, "ping"...)...),
			facts{Protocol: 1, HeaderLen: 20, Total: 32, ICMPType: 8, ICMPID: 0x1234, Payload: "ping"},
		},
		{
			"icmpv6 time exceeded", ip6(58, []byte{3, 1, 0, 0, 0, 0, 0, 0}...),
			facts{Protocol: 58, HeaderLen: 40, Total: 48, ICMPType: 3, ICMPCode: 1},
		},
		{
			"gre version 1", ip4(47, nil, 0x20, 0x01, 0x88, 0x0b, 0, 0, 0xab, 0xcd),
			facts{Protocol: 47, HeaderLen: 20, Total: 28, GRECallID: 0xabcd, Payload: " \x01\x88\x0b\x00\x00\xab\xcd"},
		},
		{
			"gre version 0 with a key", ip4(47, nil, 0x20, 0x00, 0x08, 0x00, 0, 0, 0xab, 0xcd),
			facts{Protocol: 47, HeaderLen: 20, Total: 28, Payload: " \x00\x08\x00\x00\x00\xab\xcd"},
		},
		{
			"first fragment", edit(ip4(17, nil, udp("dns")...), fragment4(0x2000)),
			with(udpFacts, func(f *facts) { f.HeaderLen, f.Total, f.Fragment, f.More = 20, 31, true, true }),
		},
		{
			"last fragment", edit(ip4(17, nil, udp("dns")...), fragment4(185)),
			facts{Protocol: 17, HeaderLen: 20, Total: 31, Fragment: true, Offset: 1480, Payload: string(udp("dns"))},
		},
		{
			"first fragment6", ip6(44, append([]byte{17, 0, 0, 1, 0, 0, 0, 7}, udp("dns")...)...),
			with(udpFacts, func(f *facts) {
				f.HeaderLen, f.Total, f.Options, f.Fragment, f.More = 48, 59, true, true, true
			}),
		},
		{
			"first fragment6 with an extension header", ip6(44, append([]byte{60, 0, 0, 7, 0, 0, 0, 7, 17, 0, 1, 4, 0, 0, 0, 0}, udp("dns")...)...),
			with(udpFacts, func(f *facts) {
				f.HeaderLen, f.Total, f.Options, f.Fragment, f.More = 56, 67, true, true, true
			}),
		},
		{
			"tcp header cut before the flags", ip4(6, nil, tcp("")[:13]...),
			facts{Protocol: 6, HeaderLen: 20, Total: 33, Ports: true, SrcPort: 12345, DstPort: 443},
		},
		{
			"further fragment6 of an extension header", ip6(44, append([]byte{60, 0, 0x05, 0xc9, 0, 0, 0, 7}, "more"...)...),
			facts{Protocol: 60, HeaderLen: 48, Total: 52, Options: true, Fragment: true, More: true, Offset: 1480, Payload: "more"},
		},
		{"no next header", ip6(59, 1, 2), facts{Protocol: 59, HeaderLen: 40, Total: 42, Payload: "\x01\x02"}},
		{"authentication header is an upper layer in ipv4", ip4(51, nil, 17, 1), facts{Protocol: 51, HeaderLen: 20, Total: 22, Payload: "\x11\x01"}},
		{"udp header cut after the ports", ip4(17, nil, udp("")[:4]...), facts{Protocol: 17, HeaderLen: 20, Total: 24, Ports: true, SrcPort: 12345, DstPort: 53}},
		{"nothing after the header", ip4(50, nil), facts{Protocol: 50, HeaderLen: 20, Total: 20}},
		{"icmp header cut", ip4(1, nil, 8, 0, 0), facts{Protocol: 1, HeaderLen: 20, Total: 23}},
		{
			"as many extension headers as there may be", headers(maxHeaders),
			with(udpFacts, func(f *facts) {
				f.HeaderLen, f.Total, f.Options = 40+8*maxHeaders, 51+8*maxHeaders, true
			}),
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			var v View
			if err := v.Decode(test.packet); err != nil {
				t.Fatalf("Decode: %v", err)
			}
			got := facts{
				v.Protocol, v.HeaderLen, v.TotalLen, v.Options, v.Fragment, v.MoreFragments, v.FragmentOffset,
				v.HasPorts(), v.SrcPort, v.DstPort, v.TCPFlags, v.UDPLen, v.ICMPType, v.ICMPCode, v.ICMPID, v.GRECallID,
				string(v.Payload()), v.Truncated(),
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("View differs (-want +got):\n%s", diff)
			}
			src, dst, version, label := src4, dst4, uint8(4), uint32(0)
			if test.packet[0]>>4 == 6 {
				src, dst, version, label = src6, dst6, 6, 0x12345
			}
			if v.Src() != src || v.Dst() != dst || v.Version != version || v.FlowLabel != label || v.TTL != 63 || v.TrafficClass != 0xb8 {
				t.Errorf("header: %v -> %v, version %d, label %#x, TTL %d, class %#x", v.Src(), v.Dst(), v.Version, v.FlowLabel, v.TTL, v.TrafficClass)
			}
			if !bytes.HasSuffix(v.L4(), v.Payload()) {
				t.Errorf("payload %q is not the end of L4 %q", v.Payload(), v.L4())
			}
		})
	}
}

// maxHeaders is how many extension headers of the shortest kind there may be before UDP.
const maxHeaders = (MaxHeaders - ipv6HeaderLen - udpHeaderLen) / 8

// headers is a packet with n extension headers of the shortest kind.
func headers(n int) []byte {
	return ip6(unix.IPPROTO_DSTOPTS, append(bytes.Repeat([]byte{unix.IPPROTO_DSTOPTS, 0, 1, 4, 0, 0, 0, 0}, n-1),
		append([]byte{unix.IPPROTO_UDP, 0, 1, 4, 0, 0, 0, 0}, udp("dns")...)...)...)
}

// behind puts an upper layer of TCP behind n extension headers.
func behind(n int, upper []byte) []byte {
	b := headers(n)
	b = append(b[:ipv6HeaderLen+8*n], upper...)
	b[ipv6HeaderLen+8*(n-1)] = unix.IPPROTO_TCP
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)-ipv6HeaderLen))
	return b
}

func TestDecodeRefuses(t *testing.T) {
	first := headers(20)[:200]
	binary.BigEndian.PutUint16(first[4:], 160)
	copy(first[40:], []byte{unix.IPPROTO_DSTOPTS, 0, 0, 1, 0, 0, 0, 7})
	first[6] = unix.IPPROTO_FRAGMENT // of which the next one has the ports
	for _, test := range []struct {
		name   string
		packet []byte
		want   error
	}{
		{"no bytes", nil, ErrTruncated},
		{"version 5", []byte{0x55}, ErrVersion},
		{"short ipv4", ip4(17, nil)[:19], ErrTruncated},
		{"short ipv6", ip6(17)[:39], ErrTruncated},
		{"ihl below 5", append([]byte{0x44}, ip4(17, nil)[1:]...), ErrHeaderLength},
		{"ihl beyond the bytes", append([]byte{0x46}, ip4(17, nil)[1:]...), ErrTruncated},
		{"total length below the header's", append([]byte{0x45, 0, 0, 19}, ip4(17, nil)[4:]...), ErrHeaderLength},
		{"extension header beyond the packet", ip6(60, 17, 1, 0, 0, 0, 0, 0, 0), ErrHeaderLength},
		{"extension header of less than 8 bytes", ip6(60, 17, 0, 0), ErrHeaderLength},
		{"copy range cuts an extension header", ip6(60, []byte{17, 1, 15: 0}...)[:50], ErrTruncated},
		{"17 extension headers, cut behind the last", headers(17)[:40+17*8], ErrTruncated},
		{"one extension header too many", headers(maxHeaders + 1), ErrTooLong},
		{"as many extension headers as fit a packet", headers((65535 - 11) / 8), ErrTooLong},
		{"an extension header of 2,048 bytes", ip6(60, slices.Concat([]byte{17, 255, 2047: 0}, udp("dns"))...), ErrTooLong},
		{"ports, and the rest of the header too far", behind(maxHeaders, tcp("get")), ErrTooLong},
		{"the longest header of DCCP", ip4(33, nil, append([]byte{0x30, 0x39, 0, 7, 255}, make([]byte, 1200)...)...), ErrTooLong},
		{"first fragment without the ports", first, ErrNoPorts},
		{"udp header cut in the ports", ip4(17, nil, udp("")[:3]...), ErrNoPorts},
		{"no udp header", ip4(17, nil), ErrNoPorts},
		{"no tcp header", ip6(6), ErrNoPorts},
		{"copy range cuts the ports", ip4(17, nil, udp("")...)[:23], ErrTruncated},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := View{Version: 4, SrcPort: 1}
			if err := v.Decode(test.packet); !errors.Is(err, test.want) {
				t.Errorf("Decode = %v, want %v", err, test.want)
			}
			if diff := cmp.Diff(View{}, v, cmp.AllowUnexported(View{})); diff != "" {
				t.Errorf("a refused packet left something behind:\n%s", diff)
			}
			if v.Src().IsValid() || v.Dst().IsValid() || len(v.L4()) != 0 || v.Payload() != nil {
				t.Error("an empty View shows a packet")
			}
		})
	}
}
