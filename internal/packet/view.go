package packet

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
)

// What Decode refuses. A refused packet has no tuple for conntrack either, with
// the exception of a copy cut by the queue's copy range.
var (
	ErrTruncated    = errors.New("packet: bytes end inside the headers up to the ports")
	ErrVersion      = errors.New("packet: IP version is neither 4 nor 6")
	ErrHeaderLength = errors.New("packet: header length and total length contradict each other")
	ErrNoPorts      = errors.New("packet: too short for the ports that its protocol has")
	ErrTooLong      = errors.New("packet: headers go on behind the first 512 bytes")
)

// MaxHeaders is in how many bytes from a packet's first on its headers are to end, those of
// the upper layer included. An IPv6 header and TCP's with all options leave 412 of them to
// extension headers: a segment routing header with 16 segments and a hop-by-hop header have
// less. The kernel has no such bound (ipv6_skip_exthdr). With as much and what it tells of
// the packet, its message still fits a buffer of 1,024 bytes (alloc_skb takes powers of two).
const MaxHeaders = 512

const (
	ipv4HeaderLen     = 20
	ipv6HeaderLen     = 40
	fragmentHeaderLen = 8
)

// View is one packet's headers. The zero View is empty and ready for Decode.
type View struct {
	b []byte // ends where the packet ends, or earlier if the copy is truncated

	// Version is 4 or 6, and 0 in a View without a packet.
	Version uint8
	// Protocol is the upper layer's, after all IPv6 extension headers. In a
	// further IPv6 fragment it is what the fragment header names, which may be
	// an extension header out of reach in the first fragment.
	Protocol uint8
	// TTL is the hop limit in IPv6.
	TTL uint8
	// TrafficClass is the TOS byte in IPv4.
	TrafficClass uint8
	// FlowLabel is 20 bits wide, and 0 in IPv4.
	FlowLabel uint32
	// HeaderLen is the offset of the upper layer's header.
	HeaderLen int
	// TotalLen is the packet's length as its header says. Where that says 0
	// (a GSO or jumbo packet beyond 65,535 bytes) it is the length that was given.
	TotalLen int
	// Options reports IPv4 options or IPv6 extension headers.
	Options bool

	// Fragment reports a part of a packet; an atomic IPv6 fragment is a whole.
	Fragment bool
	// MoreFragments reports a part that is not the last.
	MoreFragments bool
	// FragmentOffset is in bytes.
	FragmentOffset int

	// SrcPort and DstPort are set where HasPorts.
	SrcPort, DstPort uint16
	// ICMPType, ICMPCode and ICMPID are those of ICMP and ICMPv6. As in
	// conntrack's tuple, ICMPID is the word where an echo has its identifier,
	// whatever the type.
	ICMPType, ICMPCode uint8
	ICMPID             uint16
	// GRECallID is that of GRE version 1 (PPTP). Version 0's optional key is
	// not part of conntrack's tuple.
	GRECallID uint16
	// TCPFlags is the byte from FIN to CWR, 0 if the header is cut before it.
	TCPFlags uint8
	// UDPLen is the length field of UDP, 0 if the header is cut before it.
	UDPLen uint16

	ports   bool
	payload int // offset; 0: the upper header is cut
}

// Decode is DecodeCopy of a whole packet.
func (v *View) Decode(b []byte) error { return v.DecodeCopy(b, len(b)) }

// DecodeCopy reads the packet that starts with b's first byte, and of which b has the
// beginning: in all there are length bytes. It fails when the IP header cannot be followed
// to the upper layer, however many extension headers are on the way, or to the ports where
// the protocol has them, or to the upper header's end within MaxHeaders: no rule could look
// at such a packet. The View is empty then. An upper layer that is unknown, or ends
// behind its ports, is no failure. Bytes after the packet's end are ignored.
//
// Whether it fails, and all that the View tells but payload, is the same for every copy of
// a packet that has MaxHeaders bytes or the whole of it.
//
// The work is bounded by MaxHeaders: eight bytes are a step at least.
func (v *View) DecodeCopy(b []byte, length int) error {
	*v = View{}
	if len(b) == 0 {
		return ErrTruncated
	}
	var err error
	switch b[0] >> 4 {
	case 4:
		err = v.decode4(b, length)
	case 6:
		err = v.decode6(b, length)
	default:
		err = ErrVersion
	}
	switch {
	case err != nil:
	case v.FragmentOffset == 0:
		err = v.decodeUpper(v.headers()[v.HeaderLen:])
	default:
		v.payload = v.HeaderLen
	}
	if err != nil {
		*v = View{}
	}
	return err
}

// headers is where they are.
func (v *View) headers() []byte { return v.b[:min(len(v.b), MaxHeaders)] }

func (v *View) decode4(b []byte, length int) error {
	if len(b) < ipv4HeaderLen {
		return ErrTruncated
	}
	headerLen := int(b[0]&0x0f) * 4
	if headerLen < ipv4HeaderLen {
		return ErrHeaderLength
	}
	if len(b) < headerLen {
		return ErrTruncated
	}
	v.Version = 4
	v.HeaderLen = headerLen
	v.Options = headerLen > ipv4HeaderLen
	v.TrafficClass = b[1]
	v.TTL = b[8]
	v.Protocol = b[9]
	// BIG TCP leaves 0 in tot_len (commit b1a78b9b9886, Linux 6.3).
	total := int(binary.BigEndian.Uint16(b[2:]))
	if total == 0 {
		total = length
	}
	if total < headerLen {
		return ErrHeaderLength
	}
	v.setFragment(int(binary.BigEndian.Uint16(b[6:])&0x1fff)*8, b[6]&0x20 != 0)
	v.TotalLen = total
	v.b = b[:min(total, len(b))]
	return nil
}

func (v *View) decode6(b []byte, length int) error {
	if len(b) < ipv6HeaderLen {
		return ErrTruncated
	}
	v.Version = 6
	first := binary.BigEndian.Uint32(b)
	v.TrafficClass = uint8(first >> 20)
	v.FlowLabel = first & 0xfffff
	v.TTL = b[7]
	// 0 is a jumbogram, a BIG TCP packet, or a packet without payload: the
	// packet's length tells them apart.
	v.TotalLen = length
	if n := int(binary.BigEndian.Uint16(b[4:])); n != 0 {
		v.TotalLen = ipv6HeaderLen + n
	}
	v.b = b[:min(v.TotalLen, len(b))]
	return v.skipExtensions(b[6])
}

// skipExtensions follows the chain to the upper layer. The headers are those
// that the kernel's ipv6_ext_hdr knows: Mobility, HIP and Shim6 are upper
// protocols to conntrack, and so here.
func (v *View) skipExtensions(next uint8) error {
	off, headers := ipv6HeaderLen, v.headers()
	for {
		switch next {
		case unix.IPPROTO_HOPOPTS, unix.IPPROTO_ROUTING, unix.IPPROTO_FRAGMENT, unix.IPPROTO_AH, unix.IPPROTO_DSTOPTS:
		default:
			v.Protocol = next
			v.HeaderLen = off
			return nil
		}
		h := headers[off:]
		if len(h) < 8 { // none is shorter
			return v.cut(ErrHeaderLength)
		}
		v.Options = true
		length := (int(h[1]) + 1) * 8
		switch next {
		case unix.IPPROTO_AH:
			length = (int(h[1]) + 2) * 4
		case unix.IPPROTO_FRAGMENT:
			length = fragmentHeaderLen
			v.setFragment(int(binary.BigEndian.Uint16(h[2:])&^7), h[3]&1 != 0)
		}
		if len(h) < length {
			return v.cut(ErrHeaderLength)
		}
		next = h[0]
		off += length
		if v.FragmentOffset != 0 { // what follows is the middle of something
			v.Protocol = next
			v.HeaderLen = off
			return nil
		}
	}
}

// cut tells a lie in the packet from headers that are too long, and from a copy that was
// cut.
func (v *View) cut(lie error) error {
	switch {
	case v.TotalLen > MaxHeaders && len(v.b) >= MaxHeaders:
		return ErrTooLong
	case v.Truncated():
		return ErrTruncated
	}
	return lie
}

func (v *View) setFragment(offset int, more bool) {
	v.FragmentOffset = offset
	v.MoreFragments = more
	v.Fragment = more || offset != 0
}

// Truncated reports that the packet is longer than the bytes given.
func (v *View) Truncated() bool { return v.TotalLen > len(v.b) }

// HasPorts reports whether SrcPort and DstPort are there: a protocol that has
// them, and not a further fragment.
func (v *View) HasPorts() bool { return v.ports }

// Src is the source address. It is never an IPv4 address mapped into IPv6
// unless the packet carried one so.
func (v *View) Src() netip.Addr {
	switch v.Version {
	case 4:
		return netip.AddrFrom4([4]byte(v.b[12:16]))
	case 6:
		return netip.AddrFrom16([16]byte(v.b[8:24]))
	}
	return netip.Addr{}
}

// Dst is the destination address, of the IP header: a routing header's final
// destination is not looked up, nor does conntrack.
func (v *View) Dst() netip.Addr {
	switch v.Version {
	case 4:
		return netip.AddrFrom4([4]byte(v.b[16:20]))
	case 6:
		return netip.AddrFrom16([16]byte(v.b[24:40]))
	}
	return netip.Addr{}
}

// L4 is the upper layer's header and payload, as far as they were given.
func (v *View) L4() []byte { return v.b[v.HeaderLen:] }

// Payload is what follows the upper layer's header: of UDP, UDP-Lite, TCP,
// SCTP, DCCP, ICMP and ICMPv6. For other protocols and further fragments it is
// L4. It is nil if the header is cut or its length field is wrong.
// Of a copy that was cut it is what there is.
func (v *View) Payload() []byte {
	if v.payload == 0 {
		return nil
	}
	return v.b[v.payload:]
}
