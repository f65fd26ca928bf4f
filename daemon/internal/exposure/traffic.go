package exposure

import (
	"cmp"
	"slices"

	"golang.org/x/sys/unix"

	"verdictd/internal/liverules"
	"verdictd/internal/ruleset"
	"verdictd/internal/vocabulary"
)

// A kind is packets of one family and protocol.
type kind struct {
	family   liverules.Family
	protocol uint8
}

// exists: the family has such a protocol.
func (k kind) exists() bool {
	switch k.protocol {
	case unix.IPPROTO_ICMP:
		return k.family == liverules.IPv4
	case unix.IPPROTO_ICMPV6:
		return k.family == liverules.IPv6
	}
	return true
}

func (k kind) hasPorts() bool {
	return vocabulary.HasPorts(k.protocol)
}

// everyPort stands for packets whatever their ports, also where there are none.
var everyPort = []vocabulary.PortRange{{First: 0, Last: 0xffff}}

// traffic has the ports of each kind of packets.
type traffic map[kind][]vocabulary.PortRange

func (t traffic) add(k kind, ports []vocabulary.PortRange) {
	if len(ports) == 0 || !k.hasPorts() {
		ports = everyPort
	}
	t[k] = vocabulary.MergePorts(append(slices.Clone(t[k]), ports...))
}

func (t traffic) merge(other traffic) {
	for k, ports := range other {
		t.add(k, ports)
	}
}

// addPackets adds what a gate can hold of some packets. The ports may be more than
// those that the packets have where they are matched.
func (t traffic) addPackets(packets []liverules.Selection, ports func(kind, []vocabulary.PortRange) []vocabulary.PortRange) {
	for _, s := range packets {
		for _, family := range s.Families {
			for _, protocol := range vocabulary.GateProtocols() {
				k := kind{family, protocol}
				if family != liverules.IPv4 && family != liverules.IPv6 || !k.exists() || !s.Takes(liverules.Protocol(protocol)) {
					continue
				}
				at := s.Ports
				if ports != nil {
					at = ports(k, at)
				}
				t.add(k, at)
			}
		}
	}
}

// addSite adds the packets of a queue rule, as they are at the gate.
func (t traffic) addSite(rules *liverules.Rules, s liverules.Site, active []liverules.Family) {
	packets := slices.Clone(s.Reach.Packets)
	for i := range packets {
		packets[i].Families = slices.DeleteFunc(slices.Clone(packets[i].Families), func(f liverules.Family) bool { return !slices.Contains(active, f) })
	}
	rewrites := rules.RewritesBefore(s)
	changed := len(rules.Mangling) > 0 || len(rules.SourceNATBefore(s)) > 0
	t.addPackets(packets, func(k kind, ports []vocabulary.PortRange) []vocabulary.PortRange {
		if len(ports) == 0 || changed {
			return nil
		}
		ports = slices.Clone(ports)
		for _, w := range rewrites {
			if w.Kind == "tproxy" || w.Kind == "netmap" {
				continue // these leave the ports alone
			}
			before := traffic{}
			for _, way := range w.Ways {
				before.addPackets(way.Packets, nil)
			}
			ports = append(ports, before[k]...)
		}
		return ports
	})
}

// without is what the other one leaves out.
func (t traffic) without(other traffic) traffic {
	left := traffic{}
	for k, ports := range t {
		covered := other[k]
		rest := []vocabulary.PortRange{}
		for _, r := range ports {
			next := int(r.First)
			for _, c := range covered {
				if int(c.Last) < next || c.First > r.Last {
					continue
				}
				if next < int(c.First) {
					rest = append(rest, vocabulary.Ports(uint16(next), c.First-1))
				}
				next = int(c.Last) + 1
			}
			if next <= int(r.Last) {
				rest = append(rest, vocabulary.Ports(uint16(next), r.Last))
			}
		}
		if len(rest) > 0 {
			left.add(k, rest)
		}
	}
	return left
}

// list joins kinds that have the same ports, in the same families.
func (t traffic) list() []ruleset.Traffic {
	list := []ruleset.Traffic{}
	// Those with ports first, for ICMP and ICMPv6 to join.
	for _, protocol := range []uint8{unix.IPPROTO_UDP, unix.IPPROTO_UDPLITE, unix.IPPROTO_GRE, unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6} {
		four, six := t[kind{liverules.IPv4, protocol}], t[kind{liverules.IPv6, protocol}]
		switch {
		case len(four) > 0 && slices.Equal(four, six):
			list = join(list, ruleset.Traffic{IPv4: true, IPv6: true, Protocols: []uint8{protocol}, Ports: four})
		default:
			if len(four) > 0 {
				list = join(list, ruleset.Traffic{IPv4: true, Protocols: []uint8{protocol}, Ports: four})
			}
			if len(six) > 0 {
				list = join(list, ruleset.Traffic{IPv6: true, Protocols: []uint8{protocol}, Ports: six})
			}
		}
	}
	for i := range list {
		slices.Sort(list[i].Protocols)
		if slices.Equal(list[i].Ports, everyPort) {
			list[i].Ports = nil
		}
	}
	slices.SortFunc(list, func(a, b ruleset.Traffic) int {
		return cmp.Or(slices.Compare(a.Protocols, b.Protocols), families(a)-families(b))
	})
	return list
}

// families orders traffic of the same protocols: no two have a family in common.
func families(t ruleset.Traffic) int {
	if t.IPv4 {
		return 0
	}
	return 1
}

// join puts a protocol to others with the same ports. ICMP and ICMPv6 are in one
// family each, and so fit with protocols of both.
func join(list []ruleset.Traffic, t ruleset.Traffic) []ruleset.Traffic {
	alone := len(t.Protocols) == 1 && (t.Protocols[0] == unix.IPPROTO_ICMP || t.Protocols[0] == unix.IPPROTO_ICMPV6)
	for i := range list {
		l := &list[i]
		families := l.IPv4 == t.IPv4 && l.IPv6 == t.IPv6
		fits := families || alone && (l.IPv4 || !t.IPv4) && (l.IPv6 || !t.IPv6)
		if fits && slices.Equal(l.Ports, t.Ports) {
			l.Protocols = append(l.Protocols, t.Protocols...)
			return list
		}
	}
	return append(list, t)
}
