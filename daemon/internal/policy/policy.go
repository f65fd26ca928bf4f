package policy

import (
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"

	"verdictd/internal/packet"
	"verdictd/internal/vocabulary"
)

// Policy is compiled by Compile. A nil Policy accepts everything.
type Policy struct {
	def   vocabulary.Action
	rules []compiledRule
}

type compiledRule struct {
	action              vocabulary.Action
	anyProtocol         bool
	protocols           [4]uint64              // a bit for each
	source, destination *bart.Lite             // nil: any
	sourcePorts         []vocabulary.PortRange // ascending and apart; nil: any
	destinationPorts    []vocabulary.PortRange
}

// Compile prepares rules for Decide. That they make sense is for who reads them to
// check: what no packet matches has no effect. Limits and their states are taken over
// from previous, which may be nil, where a rule has the name and the limit that it had.
func Compile(cfg Config, previous *Policy) (*Policy, error) {
	p := &Policy{def: cfg.Default, rules: make([]compiledRule, len(cfg.Rules))}
	for i, r := range cfg.Rules {
		c := &p.rules[i]
		c.action = r.Action
		c.anyProtocol = len(r.Match.Protocols) == 0
		for _, protocol := range r.Match.Protocols {
			c.protocols[protocol/64] |= 1 << (protocol % 64)
		}
		c.source, c.destination = prefixes(r.Match.Source.Prefixes), prefixes(r.Match.Destination.Prefixes)
		c.sourcePorts, c.destinationPorts = ports(r.Match.SourcePorts.Ranges), ports(r.Match.DestinationPorts.Ranges)
	}
	return p, nil
}

// Needs is what the rules look at.
func (p *Policy) Needs() Needs { return Needs{} }

// SetDevices tells the names of interfaces by their indices, at the beginning and whenever
// they change. Workers may decide meanwhile.
func (p *Policy) SetDevices(names map[uint32]string) {}

// Decider decides by a policy. It belongs to one goroutine.
type Decider struct{ policy *Policy }

// NewDecider makes one.
func (p *Policy) NewDecider() *Decider { return &Decider{policy: p} }

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

// Decide says what becomes of a packet. It allocates nothing.
func (d *Decider) Decide(in *Input, v *Verdict) {
	*v = Verdict{}
	p := d.policy
	if p == nil {
		return
	}
	v.Action, v.Rule = p.def, len(p.rules)
	src, dst := in.View.Src(), in.View.Dst()
	for i := range p.rules {
		if c := &p.rules[i]; c.matches(in.View, src, dst) {
			v.Action, v.Rule = c.action, i
			return
		}
	}
}

func (c *compiledRule) matches(v *packet.View, src, dst netip.Addr) bool {
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
