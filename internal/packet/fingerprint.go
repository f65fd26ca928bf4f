package packet

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// fingerprintLen is how much of the upper layer a fingerprint looks at: its header and
// some bytes of what it carries, as much as every queue brings.
const fingerprintLen = 32

// Fingerprint tells packets of one flow apart, wherever on its way through this
// machine a packet is seen. It is made of what stays on that way: the identification of
// IPv4, the lengths, and the beginning of the upper layer. Forwarding and rules change
// hop limit, traffic class and marks; NAT changes the Key as well; checksums are still to
// be computed in one queue and are not in another (nfq.Config.GSO). Two packets that
// were sent with the same bytes may have the same one.
func (v *View) Fingerprint() uint32 {
	h := uint64(v.TotalLen)<<32 | uint64(v.Protocol)
	if v.Version == 4 {
		h |= uint64(binary.BigEndian.Uint16(v.b[4:])) << 8
	}
	h = mix(h ^ uint64(v.FragmentOffset)<<48)
	var b [fingerprintLen]byte
	copy(b[:], v.headers()[v.HeaderLen:])
	if at, n := checksum(v.Protocol, b[:]); v.FragmentOffset == 0 {
		clear(b[at : at+n])
	}
	for i := 0; i < fingerprintLen; i += 8 {
		h = mix(h ^ binary.LittleEndian.Uint64(b[i:]))
	}
	return uint32(h ^ h>>32)
}

// checksum is where the upper header has one: offset and length.
func checksum(protocol uint8, h []byte) (at, n int) {
	switch protocol {
	case unix.IPPROTO_UDP, unix.IPPROTO_UDPLITE, unix.IPPROTO_DCCP:
		return 6, 2
	case unix.IPPROTO_TCP:
		return 16, 2
	case unix.IPPROTO_SCTP:
		return 8, 4
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		return 2, 2
	case unix.IPPROTO_GRE:
		if h[0]&0x80 != 0 {
			return 4, 2
		}
	}
	return 0, 0
}

// mix spreads every bit over all others (the finalizer of SplitMix64).
func mix(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
