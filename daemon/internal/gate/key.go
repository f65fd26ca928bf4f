package gate

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/sys/unix"

	"verdictd/internal/packet"
)

// zoneAt is where a flow's key holds its conntrack zone: packet.Key leaves
// these two bytes zero.
const zoneAt = 2

// FlowKey turns the key of a packet into that of its flow: both directions of a
// flow have one, and equal tuples in two zones are two flows. Replies of ICMP
// and PPTP have another tuple than the reverse one, so those keys keep their
// direction. Turned says that the packet's own tuple is the reverse one.
func FlowKey(k *packet.Key, zone uint16) (turned bool) {
	binary.BigEndian.PutUint16(k[zoneAt:], zone)
	switch k[1] {
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		return false
	case unix.IPPROTO_GRE:
		if k[38] != 0 || k[39] != 0 {
			return false
		}
	}
	src, dst := k[4:20], k[20:36]
	order := bytes.Compare(src, dst)
	if order == 0 {
		order = bytes.Compare(k[36:38], k[38:40])
	}
	if order <= 0 {
		return false
	}
	turn(k)
	return true
}

// turn reverses a tuple.
func turn(k *packet.Key) {
	src, dst := k[4:20], k[20:36]
	var t [16]byte
	copy(t[:], src)
	copy(src, dst)
	copy(dst, t[:])
	k[36], k[37], k[38], k[39] = k[38], k[39], k[36], k[37]
}

// Zone takes the zone out of a flow's key, which is a packet's key then, of one
// of the flow's directions.
func Zone(k *packet.Key) (packet.Key, uint16) {
	tuple := *k
	zone := binary.BigEndian.Uint16(tuple[zoneAt:])
	tuple[zoneAt], tuple[zoneAt+1] = 0, 0
	return tuple, zone
}

// listable reports whether the flow can be in the settled set, whose elements
// are addresses and ports of UDP without a zone.
func listable(k *packet.Key) bool {
	if k[zoneAt] != 0 || k[zoneAt+1] != 0 {
		return false
	}
	return k[1] == unix.IPPROTO_UDP
}
