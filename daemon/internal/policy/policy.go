package policy

import (
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"

	"verdictd/internal/packet"
	"verdictd/internal/vocabulary"
)

// Rule matches a packet that every list matches.
type Rule struct {
	Action vocabulary.Action
	// Protocols are upper-layer protocol numbers.
	Protocols           []uint8
	Source, Destination []netip.Prefix
	SourcePorts         []vocabulary.PortRange
	DestinationPorts    []vocabulary.PortRange
}

// Policy is compiled by Compile. A nil Policy accepts everything.
type Policy struct {
	def   vocabulary.Action
	rules []compiled
}

type compiled struct {
	action              vocabulary.Action
	anyProtocol         bool
	protocols           [4]uint64              // a bit for each
	source, destination *bart.Lite             // nil: any
	sourcePorts         []vocabulary.PortRange // ascending and apart; nil: any
	destinationPorts    []vocabulary.PortRange
}

// Compile prepares rules for Decide. That they make sense is for who reads them to
// check: what no packet matches has no effect.
func Compile(def vocabulary.Action, rules []Rule) *Policy {
	p := &Policy{def: def, rules: make([]compiled, len(rules))}
	for i, r := range rules {
		c := &p.rules[i]
		c.action = r.Action
		c.anyProtocol = len(r.Protocols) == 0
		for _, protocol := range r.Protocols {
			c.protocols[protocol/64] |= 1 << (protocol % 64)
		}
		c.source, c.destination = prefixes(r.Source), prefixes(r.Destination)
		c.sourcePorts, c.destinationPorts = ports(r.SourcePorts), ports(r.DestinationPorts)
	}
	return p
}

func prefixes(list []netip.Prefix) *bart.Lite {
	if len(list) == 0 {
		return nil
	}
	table := new(bart.Lite)
	for _, prefix := range list {
		table.Insert(prefix)
	}
	return table
}

// ports prepares ranges for the search.
func ports(list []vocabulary.PortRange) []vocabulary.PortRange {
	if len(list) == 0 {
		return nil
	}
	return vocabulary.MergePorts(list)
}

// Rules is how many there are.
func (p *Policy) Rules() int {
	if p == nil {
		return 0
	}
	return len(p.rules)
}

// Action is that of a rule by its number, and of the default behind them.
func (p *Policy) Action(rule int) vocabulary.Action {
	switch {
	case p == nil:
		return vocabulary.Accept
	case rule < len(p.rules):
		return p.rules[rule].action
	}
	return p.def
}

// Decide returns what happens to the packet, and the number of the rule that says so;
// where none does, the number of all rules. It allocates nothing.
func (p *Policy) Decide(v *packet.View) (action vocabulary.Action, rule int) {
	if p == nil {
		return vocabulary.Accept, 0
	}
	if len(p.rules) == 0 {
		return p.def, 0
	}
	src, dst := v.Src(), v.Dst()
	for i := range p.rules {
		if c := &p.rules[i]; c.matches(v, src, dst) {
			return c.action, i
		}
	}
	return p.def, len(p.rules)
}

func (c *compiled) matches(v *packet.View, src, dst netip.Addr) bool {
	if !c.anyProtocol && c.protocols[v.Protocol/64]&(1<<(v.Protocol%64)) == 0 {
		return false
	}
	if c.sourcePorts != nil && (!v.HasPorts() || !contains(c.sourcePorts, v.SrcPort)) {
		return false
	}
	if c.destinationPorts != nil && (!v.HasPorts() || !contains(c.destinationPorts, v.DstPort)) {
		return false
	}
	if c.source != nil && !c.source.Contains(src) {
		return false
	}
	return c.destination == nil || c.destination.Contains(dst)
}

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
