package reinject

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

const (
	ipv4HeaderLen     = 20
	ipv6HeaderLen     = 40
	fragmentHeaderLen = 8

	// moreFragments is the flag of an IPv4 header; IPv6 has it in the lowest bit.
	moreFragments = 0x2000

	// fragmentRoom holds the longest fragment with all headers that are repeated.
	fragmentRoom = 2048
)

// fragmentSizes are the lengths in bytes that fragments are tried at: the least
// MTU of IPv6, which nearly every IPv4 link has too, and of IPv4 (RFC 791). They
// do not show on the wire where conntrack is active: it reassembles the fragments
// before it tracks them, and the kernel fragments anew to the device's MTU.
var fragmentSizes = [...]int{1280, 576}

// sendFragments sends a packet in pieces, of the largest size that passes.
func (s *Sender) sendFragments(packet []byte, mark, dev uint32) error {
	for _, size := range fragmentSizes {
		var err error
		if packet[0]>>4 == 4 {
			err = s.sendFragments4(packet, mark, dev, size)
		} else {
			err = s.sendFragments6(packet, mark, dev, size)
		}
		if err != ErrTooLong { //nolint:errorlint // the sentinel itself, from send
			return err
		}
	}
	return ErrTooLong
}

// sendFragments4 repeats the header with all its options, which reassembly takes
// from the first fragment. It clears "don't fragment": a local packet that is too
// long and has it set nevertheless is fragmented by the kernel too
// (skb->ignore_df), and one on its way through was refused before FORWARD.
func (s *Sender) sendFragments4(packet []byte, mark, dev uint32, size int) error {
	header := int(packet[0]&0xf) * 4
	if header < ipv4HeaderLen || header > len(packet) {
		return ErrNoPacket
	}
	field := binary.BigEndian.Uint16(packet[6:])
	if field&0x3fff != 0 {
		return ErrTooLong // a fragment already
	}
	b := s.fragment[:]
	copy(b, packet[:header])
	if binary.BigEndian.Uint16(b[4:]) == 0 {
		// The kernel would fill in another identification for each fragment.
		s.fragmentID++
		binary.BigEndian.PutUint16(b[4:], uint16(s.fragmentID)|1)
	}
	return s.pieces(packet[header:], size-header, func(piece []byte, offset int, more bool) error {
		frag := uint16(offset / 8)
		if more {
			frag |= moreFragments
		}
		n := header + copy(b[header:], piece)
		binary.BigEndian.PutUint16(b[2:], uint16(n))
		binary.BigEndian.PutUint16(b[6:], frag)
		return s.send(b[:n], mark, dev)
	})
}

func (s *Sender) sendFragments6(packet []byte, mark, dev uint32, size int) error {
	header, next, ok := unfragmentable(packet)
	if !ok || header+fragmentHeaderLen > size-8 {
		return ErrTooLong
	}
	b := s.fragment[:]
	copy(b, packet[:header])
	f := b[header : header+fragmentHeaderLen]
	f[0], f[1] = b[next], 0
	b[next] = unix.IPPROTO_FRAGMENT
	s.fragmentID++
	binary.BigEndian.PutUint32(f[4:], s.fragmentID)
	start := header + fragmentHeaderLen
	return s.pieces(packet[header:], size-start, func(piece []byte, offset int, more bool) error {
		frag := uint16(offset)
		if more {
			frag |= 1
		}
		n := start + copy(b[start:], piece)
		binary.BigEndian.PutUint16(b[4:], uint16(n-ipv6HeaderLen))
		binary.BigEndian.PutUint16(f[2:], frag)
		return s.send(b[:n], mark, dev)
	})
}

// pieces calls send for parts of at most size bytes, all but the last a multiple
// of 8 long.
func (s *Sender) pieces(payload []byte, size int, send func(piece []byte, offset int, more bool) error) error {
	size &^= 7
	for offset := 0; offset < len(payload); offset += size {
		end := min(offset+size, len(payload))
		if err := send(payload[offset:end], offset, end < len(payload)); err != nil {
			return err
		}
	}
	return nil
}

// unfragmentable measures the headers that every fragment repeats (RFC 8200, 4.5):
// hop-by-hop options, and destination options and routing up to a routing header.
// next is where the last one names its successor. ok is false for a packet that is
// a fragment already, or cut.
func unfragmentable(packet []byte) (length, next int, ok bool) {
	length, next = ipv6HeaderLen, 6
	at, name := ipv6HeaderLen, 6
	for {
		switch packet[name] {
		case unix.IPPROTO_HOPOPTS, unix.IPPROTO_ROUTING, unix.IPPROTO_DSTOPTS:
		case unix.IPPROTO_FRAGMENT:
			return 0, 0, false
		default:
			return length, next, true
		}
		if at+2 > len(packet) {
			return 0, 0, false
		}
		end := at + 8 + 8*int(packet[at+1])
		if end > len(packet) {
			return 0, 0, false
		}
		if packet[name] != unix.IPPROTO_DSTOPTS {
			length, next = end, at
		}
		name, at = at, end
	}
}
