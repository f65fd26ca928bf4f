package quic

import "encoding/binary"

// packet is one of a datagram, with a long header (RFC 9000, 17.2).
type packet struct {
	kind        Kind
	version     uint32
	destination []byte
	bytes       []byte // to the packet's end, which may be the datagram's
	number      int    // offset of the packet number in an Initial packet
}

// Kind is what a packet is.
type Kind uint8

// The kinds. Packets of servers are known so that they are not taken for something else.
const (
	// NotQUIC has no long header, or one that contradicts itself.
	NotQUIC Kind = iota
	// Initial may have a part of a ClientHello.
	Initial
	// Other carries no hello, or not in a form that is to be opened: 0-RTT, Handshake.
	Other
	// Retry and Negotiation are servers'.
	Retry
	Negotiation
	// UnknownVersion cannot be opened.
	UnknownVersion
)

// First tells what the datagram b begins with, behind packets that are passed over
// (Other). id is that of an Initial packet: keys made of it open the packet if it is the
// client's first.
func First(b []byte) (kind Kind, id ID) {
	p := cutPacket(b)
	for n := 1; p.kind == Other && len(p.bytes) < len(b) && n < maxPackets; n++ {
		b = b[len(p.bytes):]
		next := cutPacket(b)
		if next.kind == NotQUIC {
			break
		}
		p = next
	}
	if p.kind == Initial {
		id = ID{version: p.version, length: uint8(len(p.destination))}
		copy(id.bytes[:], p.destination)
	}
	return p.kind, id
}

// cutPacket reads the header of the packet that b begins with.
func cutPacket(b []byte) (p packet) {
	const form, fixed = 0x80, 0x40
	if len(b) < 7 || b[0]&form == 0 {
		return packet{}
	}
	p = packet{version: binary.BigEndian.Uint32(b[1:]), bytes: b}
	var rest []byte
	var ok bool
	if p.destination, rest, ok = shortBytes(b[5:]); !ok {
		return packet{}
	}
	source, rest, ok := shortBytes(rest)
	if !ok {
		return packet{}
	}
	if p.version == 0 {
		p.kind = Negotiation
		return p
	}
	s := schemeOf(p.version)
	if s == nil {
		p.kind = UnknownVersion
		return p
	}
	if b[0]&fixed == 0 || len(p.destination) > maxID || len(source) > maxID {
		return packet{}
	}
	kind := b[0] >> 4 & 3
	switch kind {
	case s.initial:
		p.kind = Initial
		if _, rest, ok = longBytes(rest); !ok { // the token
			return packet{}
		}
	case s.zeroRTT, s.handshake:
		p.kind = Other
	default:
		p.kind = Retry
		return p
	}
	length, rest, ok := varint(rest)
	if !ok || length > uint64(len(rest)) {
		return packet{}
	}
	p.number = len(b) - len(rest)
	p.bytes = b[:p.number+int(length)]
	return p
}

// shortBytes and longBytes are bytes behind their length: one byte, or of variable size.
func shortBytes(b []byte) (value, rest []byte, ok bool) {
	if len(b) == 0 || len(b) <= int(b[0]) {
		return nil, nil, false
	}
	return b[1 : 1+int(b[0])], b[1+int(b[0]):], true
}

func longBytes(b []byte) (value, rest []byte, ok bool) {
	n, b, ok := varint(b)
	if !ok || n > uint64(len(b)) {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}

// varint is a number of variable size (RFC 9000, 16).
func varint(b []byte) (n uint64, rest []byte, ok bool) {
	if len(b) == 0 {
		return 0, nil, false
	}
	size := 1 << (b[0] >> 6)
	if len(b) < size {
		return 0, nil, false
	}
	n = uint64(b[0] & 0x3f)
	for _, c := range b[1:size] {
		n = n<<8 | uint64(c)
	}
	return n, b[size:], true
}

// fullNumber is the packet number that ends in these bits and is the closest to what is
// expected (RFC 9000, A.3).
func fullNumber(largest int64, low uint32, bits int) int64 {
	expected := largest + 1
	window := int64(1) << bits
	n := expected&^(window-1) | int64(low)
	switch {
	case n <= expected-window/2 && n < 1<<62-window:
		return n + window
	case n > expected+window/2 && n >= window:
		return n - window
	}
	return n
}
