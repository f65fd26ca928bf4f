package packet

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Key is the identity of a flow in the direction of the packet: equal for two
// packets exactly when conntrack's tuples are. Zones and marks are not part of
// it, as a packet does not show them.
//
//	 0     version
//	 1     protocol
//	 2- 4  zero
//	 4-20  source, IPv4 in the first four bytes
//	20-36  destination, likewise
//	36-40  source and destination port | ICMP identifier, type, code |
//	       zero and GRE call ID | zero
//
// One limit: a kernel built without conntrack's SCTP, UDP-Lite or DCCP, and
// every kernel from 6.17 for the last (fd72f265bb00 removed it), tracks that
// protocol by its addresses alone.
type Key [40]byte

// Key writes every byte of k.
func (v *View) Key(k *Key) {
	*k = Key{0: v.Version, 1: v.Protocol}
	switch v.Version {
	case 4:
		copy(k[4:], v.b[12:16])
		copy(k[20:], v.b[16:20])
	case 6:
		copy(k[4:36], v.b[8:40])
	}
	switch v.Protocol {
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		binary.BigEndian.PutUint16(k[36:], v.ICMPID)
		k[38], k[39] = v.ICMPType, v.ICMPCode
	case unix.IPPROTO_GRE:
		binary.BigEndian.PutUint16(k[38:], v.GRECallID)
	default: // zero where there are no ports
		binary.BigEndian.PutUint16(k[36:], v.SrcPort)
		binary.BigEndian.PutUint16(k[38:], v.DstPort)
	}
}
