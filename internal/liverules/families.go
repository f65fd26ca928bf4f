package liverules

import "slices"

// families is a set of packet families, a bit each. Inet is IPv4 and IPv6.
type families uint8

const (
	ipv4 families = 1 << iota
	ipv6
	bridged
)

// packetFamilies are those that packets can have, in the order of their bits.
var packetFamilies = []Family{IPv4, IPv6, Bridge, NetDev, ARP}

func (f Family) families() families {
	if f == Inet {
		return ipv4 | ipv6
	}
	if i := slices.Index(packetFamilies, f); i >= 0 {
		return 1 << i
	}
	return 0
}

func (f families) list() []Family {
	list := []Family{}
	for _, family := range packetFamilies {
		if f&family.families() != 0 {
			list = append(list, family)
		}
	}
	return list
}

func (w Way) families() families {
	var f families
	for _, family := range w.Families {
		f |= family.families()
	}
	return f
}
