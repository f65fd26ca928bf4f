package liverules

import "golang.org/x/sys/unix"

// limits say of packets what they have in common, as far as it is understood.
// Those of a condition are wide enough for all packets that meet it.
type limits struct {
	protocols byteSet
	// icmp are the types of ICMP messages, of IPv4 and of IPv6.
	icmp [2]byteSet
	// states has a bit for each of conntrack's (NF_CT_STATE_BIT).
	states uint32
	// The ports: the source's, the destination's, at least one of the two.
	source, destination, either portSet

	// exact: of one kind only, and all packets within them meet the condition, so
	// that those which do not are outside.
	exact bool
}

// unlimited are all packets.
var unlimited = limits{protocols: everyByte, icmp: [2]byteSet{everyByte, everyByte}, states: ^uint32(0)}

// Conntrack's states: NF_CT_STATE_BIT of IP_CT_RELATED and of IP_CT_NEW, and
// NF_CT_STATE_UNTRACKED_BIT.
const (
	stateRelated   = 1 << 2
	stateNew       = 1 << 3
	stateUntracked = 1 << 6
)

// limitedTo makes limits of one kind.
func limitedTo(set func(*limits)) *limits {
	l := unlimited
	l.exact = true
	set(&l)
	return &l
}

func ofProtocols(s byteSet) *limits { return limitedTo(func(l *limits) { l.protocols = s }) }
func ofStates(states uint32) *limits {
	return limitedTo(func(l *limits) { l.states = states })
}
func ofICMPTypes(s byteSet) *limits {
	return limitedTo(func(l *limits) { l.icmp = [2]byteSet{s, s} })
}

// and are the limits of packets that keep both.
func (l limits) and(other limits) limits {
	return limits{
		protocols: l.protocols.and(other.protocols),
		icmp:      [2]byteSet{l.icmp[0].and(other.icmp[0]), l.icmp[1].and(other.icmp[1])},
		states:    l.states & other.states,
		source:    l.source.and(other.source), destination: l.destination.and(other.destination), either: l.either.and(other.either),
	}
}

// outside are the limits of packets that do not keep exact ones.
func (l limits) outside() limits {
	out := unlimited
	if l.protocols != everyByte {
		out.protocols = l.protocols.complement()
	}
	for i := range l.icmp {
		if l.icmp[i] != everyByte {
			out.icmp[i] = l.icmp[i].complement()
		}
	}
	if l.states != ^uint32(0) {
		out.states = ^l.states
	}
	out.source, out.destination, out.either = l.source.complement(), l.destination.complement(), l.either.complement()
	return out
}

// smallest is a set in which each packet has one of its ports at least; nil: none
// is known.
func (l limits) smallest() portSet {
	var best portSet
	for _, s := range []portSet{l.source, l.destination, l.either} {
		if s != nil && (best == nil || s.count() < best.count()) {
			best = s
		}
	}
	return best
}

// confirmed reports whether no packet is among those that come by any of the ways
// whose entry may be unconfirmed: in the other states it is in conntrack's table, or
// the packet has none.
func (a arrivals) confirmed() bool {
	for _, way := range a.list {
		if l := way.known.limits(); l == nil || l.states&(stateNew|stateRelated) != 0 {
			return false
		}
	}
	return true
}

// limits are what is known leaves; nil: all packets.
func (k *known) limits() *limits {
	if k == nil {
		return nil
	}
	return k.within
}

// limits are those of packets of which the fact is known; nil: none.
func (f fact) limits() *limits {
	c, single := f.single()
	switch {
	case !f.escaped:
		return c.limits
	case single && c.limits != nil && c.limits.exact:
		out := c.limits.outside()
		return &out
	case f.surely && len(f.conditions) <= 3:
		return outsideICMP(f.conditions)
	}
	return nil
}

// outsideICMP are the limits of packets that are not both of ICMP and of some
// types, in the family that has that ICMP.
func outsideICMP(conditions []condition) *limits {
	out := unlimited
	out.icmp[0] = typesOf(conditions, IPv4, unix.IPPROTO_ICMP, 0).complement()
	out.icmp[1] = typesOf(conditions, IPv6, unix.IPPROTO_ICMPV6, 1).complement()
	return &out
}

// typesOf are the types of ICMP all of whose messages meet the conditions.
func typesOf(conditions []condition, f Family, p uint8, version int) byteSet {
	var types byteSet
	for _, c := range conditions {
		l := c.limits
		switch {
		case c.family == f:
		case l == nil || !l.exact:
			return byteSet{}
		case l.protocols == byteSetOf(p):
		case l.icmp[version] != everyByte && types.empty():
			types = l.icmp[version]
		default:
			return byteSet{}
		}
	}
	return types
}
