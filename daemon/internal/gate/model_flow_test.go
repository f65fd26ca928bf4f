package gate

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"verdictd/internal/packet"
)

// nat is what happens to a flow behind the lookup.
type nat int

const (
	natNone nat = iota
	natDestination
	natSource
)

// mFlow is a flow as people see it, whatever tuples it has on its way.
type mFlow struct {
	number     int
	zone       uint16
	nat        nat
	icmp       bool
	forward    packet.Key // with the zone
	path, back []mStop
	answers    bool    // what the other end sends has arrived or may be expected
	forgotten  []int64 // when
}

// FlowKeyZone writes a zone where a flow's key has it, and leaves the direction.
func FlowKeyZone(k *packet.Key, zone uint16) { binary.BigEndian.PutUint16(k[zoneAt:], zone) }

func reversed(k packet.Key) packet.Key {
	turn(&k)
	return k
}

// newFlow makes number n. Pairs of flows differ by their zone alone.
func newFlow(n int, o *modelOptions) mFlow {
	f := mFlow{number: n}
	k := packet.Key{0: 4, 1: unix.IPPROTO_UDP, 4: 10, 7: byte(n / 2 * 2), 20: 10, 23: byte(n / 2 * 2 * 7 % 24), 37: 9, 39: 53}
	switch {
	case o.nat && n%4 == 1:
		f.nat = natDestination
		k[22] = 9
	case o.nat && n%4 == 3:
		f.nat = natSource
		k[4] = 11
	case n%6 == 4:
		f.icmp = true
		k[1], k[38], k[39] = unix.IPPROTO_ICMP, 8, 0
	case n%2 == 1:
		f.zone = 7
	}
	FlowKeyZone(&k, f.zone)
	f.forward = k
	return f
}

// replyTuple is that of an entry that the packet makes, and where the packet goes.
func (f *mFlow) replyTuple(p *mPacket, random int) (packet.Key, int) {
	k := p.tuple
	switch {
	case f.icmp:
		k[38], k[39] = 0, 0
		copy(k[4:20], p.tuple[20:36])
		copy(k[20:36], p.tuple[4:20])
		return k, 0
	case p.reply || f.nat == natNone:
		return reversed(k), 0
	case f.nat == natDestination:
		k = reversed(k)
		k[4], k[5] = 172, byte(random) // one of two backends
		return k, random
	}
	k = reversed(k)
	k[20] = 203 // masqueraded
	return k, 0
}

// tuples are those that conntrack may have the flow by.
func (f *mFlow) tuples() []packet.Key {
	return []packet.Key{f.forward, reversed(f.forward)}
}

// replyOf is the tuple of a packet that the other end sends, if it can.
func (m *model) replyOf(f *mFlow) (packet.Key, bool) {
	if f.nat == natNone && !f.icmp {
		return reversed(f.forward), true
	}
	if c := m.entries[f.forward]; c != nil && (f.answers || f.icmp) {
		return c.reply, true
	}
	return packet.Key{}, false
}
