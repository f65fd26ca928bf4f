package policy

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strconv"

	"github.com/gaissmai/bart"

	"verdictd/internal/vocabulary"
)

// end is where a packet comes from or goes to.
type end struct {
	name, device string
	addr         func(d *Decider) netip.Addr
	port         func(d *Decider) uint16
	index        func(d *Decider) uint32
	// The index's dimensions for it.
	byAddr, byPort, byDevice dimension
}

var (
	source = end{
		"source", "interface_in", func(d *Decider) netip.Addr { return d.src }, func(d *Decider) uint16 { return d.in.View.SrcPort },
		func(d *Decider) uint32 { return d.in.InDev }, bySource, bySourcePort, byIn,
	}
	destination = end{
		"destination", "interface_out", func(d *Decider) netip.Addr { return d.dst }, func(d *Decider) uint16 { return d.in.View.DstPort },
		func(d *Decider) uint32 { return d.in.OutDev }, byDestination, byDestinationPort, byOut,
	}
)

// places are the conditions on where a packet comes from and goes to.
func (c *compiler) places(m *Match) (list []condition) {
	list = append(list, c.devices(m.InterfacesIn, &source)...)
	list = append(list, c.devices(m.InterfacesOut, &destination)...)
	list = append(list, c.ports(m.SourcePorts, &source)...)
	list = append(list, c.ports(m.DestinationPorts, &destination)...)
	list = append(list, c.addresses(m.Source, &source)...)
	list = append(list, c.addresses(m.Destination, &destination)...)
	list = append(list, c.pairs(m.SourcePairs, &source)...)
	return append(list, c.pairs(m.DestinationPairs, &destination)...)
}

func (c *compiler) devices(names []string, e *end) []condition {
	if len(names) == 0 {
		return nil
	}
	var patterns []int
	for _, name := range names {
		patterns = append(patterns, c.pattern(name))
	}
	return []condition{{
		key: e.device,
		holds: func(d *Decider) Value {
			return valueOf(hasAny(d.devices.at(e.index(d)).patterns, patterns))
		},
		has: func(d *Decider) string {
			i := e.index(d)
			if name := d.devices.at(i).name; name != "" || i == 0 {
				return name
			}
			return "#" + strconv.FormatUint(uint64(i), 10)
		},
		enter: func(c *chunk, rule int) { c.devices(rule, patterns, e.byDevice) }, dimension: e.byDevice,
	}}
}

func (c *compiler) ports(p Ports, e *end) []condition {
	if len(p.Ranges)+len(p.Sets) == 0 {
		return nil
	}
	ranges := vocabulary.MergePorts(p.Ranges)
	var uses []use
	for _, set := range p.Sets {
		uses = append(uses, c.use(set, set.Name, e.name, func(d *Decider) bool {
			current := set.Load()
			return current != nil && current.Contains(e.port(d))
		}))
	}
	out := condition{
		key: e.name + "_ports",
		holds: func(d *Decider) Value {
			return valueOf(d.in.View.HasPorts() && (contains(ranges, e.port(d)) || d.inSets(uses)))
		},
		has: func(d *Decider) string {
			if !d.in.View.HasPorts() {
				return ""
			}
			return strconv.Itoa(int(e.port(d)))
		},
		entry: func(d *Decider, dst []byte) []byte { return binary.BigEndian.AppendUint16(dst, e.port(d)) },
	}
	if len(uses) == 0 {
		out.enter, out.dimension = func(c *chunk, rule int) { c.ports(rule, ranges, e.byPort) }, e.byPort
	}
	return []condition{out}
}

// contains looks into ascending ranges that are apart.
func contains(ranges []vocabulary.PortRange, port uint16) bool {
	_, found := slices.BinarySearchFunc(ranges, port, func(r vocabulary.PortRange, port uint16) int {
		switch {
		case r.Last < port:
			return -1
		case r.First > port:
			return 1
		}
		return 0
	})
	return found
}

func (c *compiler) addresses(a Addresses, e *end) []condition {
	if len(a.Prefixes)+len(a.Sets) == 0 {
		return nil
	}
	var table bart.Lite
	for _, p := range a.Prefixes {
		table.Insert(p.Masked())
	}
	var uses []use
	for _, set := range a.Sets {
		uses = append(uses, c.use(set, set.Name, e.name, func(d *Decider) bool {
			current := set.Load()
			return current != nil && current.Contains(e.addr(d))
		}))
	}
	some := len(a.Prefixes) > 0
	out := condition{
		key: e.name,
		holds: func(d *Decider) Value {
			return valueOf(some && table.Contains(e.addr(d)) || d.inSets(uses))
		},
		has: func(d *Decider) string { return e.addr(d).String() },
		entry: func(d *Decider, dst []byte) []byte {
			host := e.addr(d)
			found, ok := table.LookupPrefixLPM(netip.PrefixFrom(host, host.BitLen()))
			for i := 0; i < len(a.Sets) && !ok; i++ {
				if current := a.Sets[i].Load(); current != nil {
					found, ok = current.Find(host)
				}
			}
			if !ok {
				return dst
			}
			dst = append(dst, byte(found.Bits()))
			bytes := found.Addr().As16()
			return append(dst, bytes[:]...)
		},
	}
	if len(uses) == 0 {
		out.enter, out.dimension = func(c *chunk, rule int) { c.prefixes(rule, a.Prefixes, e.byAddr) }, e.byAddr
	}
	return []condition{out}
}

func (c *compiler) pairs(p Pairs, e *end) []condition {
	if len(p.List)+len(p.Sets) == 0 {
		return nil
	}
	inline := map[netip.AddrPort]bool{}
	for _, pair := range p.List {
		inline[pair] = true
	}
	var uses []use
	for _, set := range p.Sets {
		uses = append(uses, c.use(set, set.Name, e.name, func(d *Decider) bool {
			current := set.Load()
			return current != nil && current.Contains(e.addr(d), e.port(d))
		}))
	}
	pair := func(d *Decider) netip.AddrPort { return netip.AddrPortFrom(e.addr(d), e.port(d)) }
	return []condition{{
		key: e.name + "_pairs",
		holds: func(d *Decider) Value {
			return valueOf(d.in.View.HasPorts() && (inline[pair(d)] || d.inSets(uses)))
		},
		has: func(d *Decider) string {
			if !d.in.View.HasPorts() {
				return ""
			}
			return pair(d).String()
		},
		entry: func(d *Decider, dst []byte) []byte {
			bytes := e.addr(d).As16()
			return binary.BigEndian.AppendUint16(append(dst, bytes[:]...), e.port(d))
		},
	}}
}

// inSets asks all, as a hit counts for each.
func (d *Decider) inSets(uses []use) (found bool) {
	for i := range uses {
		if uses[i].holds(d) {
			found = true
		}
	}
	return found
}
