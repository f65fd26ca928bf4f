package exposure

import (
	"slices"

	"verdictd/internal/liverules"
	"verdictd/internal/ruleset"
)

// QueueRange is the queues First to Last.
type QueueRange struct{ First, Last uint16 }

// within reports whether all queues of a rule are in one of the ranges.
func within(q liverules.QueueStatement, ranges []QueueRange) bool {
	return !q.Computed && slices.ContainsFunc(ranges, func(r QueueRange) bool { return r.First <= q.First && q.Last <= r.Last })
}

// Touches reports whether a queue of a rule is, or may be, in one of the ranges.
func Touches(q liverules.QueueStatement, ranges []QueueRange) bool {
	return q.Computed || slices.ContainsFunc(ranges, func(r QueueRange) bool { return r.First <= q.Last && q.First <= r.Last })
}

// Options say what the plan is for. The zero value plans for all queues.
type Options struct {
	// Queues are those to be guarded; none: all.
	Queues []QueueRange

	// Table is the gate's own, of nftables and family inet.
	Table string

	// Gate are the numbers of the gate's queues. A rule that goes to one of them is
	// no verdict's, and one of another table is the operator's own gate.
	Gate []QueueRange

	// HandsOn are queues to which packets that passed the gate are handed on, whatever the
	// rules say of them.
	HandsOn []uint16

	// Insist plans where it is unknown whether conntrack is active, too.
	Insist bool
}

// Plan is what a gate has to do.
type Plan struct {
	// Traffic is what has to pass the gate: each packet of an exposing rule is in
	// one, in an order that depends on nothing but the content.
	Traffic []ruleset.Traffic

	// Exposing are the rules that expose, or may.
	Exposing []Exposing

	// Uncovered says, a sentence each, what the gate cannot do for them, and what
	// could not be read. Beyond is the part of it that holds whatever is read, and
	// however much is insisted.
	Uncovered, Beyond []string

	// Conntrack is what was known before the gate.
	Conntrack liverules.Conntrack

	// Activates are the families for which the gate's rules make connections be
	// tracked, as they do so for both.
	Activates []liverules.Family

	// Zones are the conntrack zones besides 0 that rules put packets into.
	Zones []uint16

	// TemplateZone is the zone of packets with a conntrack template, nil where it may be
	// one of several.
	TemplateZone *uint16

	// Apart are the queues to which no packet comes that has passed the gate.
	Apart map[uint16]bool

	// Installed: rules of other tables take packets to the gate's queues already.
	// Missing is what of the traffic these leave out.
	Installed bool
	Missing   []ruleset.Traffic
}

// Same reports whether two plans ask for the same gate.
func (p *Plan) Same(other *Plan) bool {
	return slices.EqualFunc(p.Traffic, other.Traffic, ruleset.Traffic.Equal) && slices.Equal(p.Zones, other.Zones) &&
		sameZone(p.TemplateZone, other.TemplateZone) && p.Installed == other.Installed && slices.EqualFunc(p.Missing, other.Missing, ruleset.Traffic.Equal)
}

// Make makes the plan.
func Make(rules *liverules.Rules, o Options) *Plan {
	before := rules.Conntrack
	p := plan(rules, o)
	if len(p.Traffic) > 0 {
		// A table of family inet that asks conntrack has it for both.
		both := before
		both.IPv4, both.IPv6 = liverules.Yes, liverules.Yes
		if both != before {
			p = plan(rules.Assuming(both), o)
		}
		for family, answer := range map[liverules.Family]liverules.Answer{liverules.IPv4: before.IPv4, liverules.IPv6: before.IPv6} {
			if answer != liverules.Yes {
				p.Activates = append(p.Activates, family)
			}
		}
		slices.Sort(p.Activates)
	}
	p.Conntrack, p.Apart = before, apart(rules, p.Traffic, o.HandsOn)
	return p
}

// Own plans for rules that are not there yet, and expose what they queue.
func Own(rules *liverules.Rules, packets liverules.Selection, o Options) *Plan {
	p := &Plan{Conntrack: rules.Conntrack, Zones: zones(rules), TemplateZone: templateZone(rules)}
	if len(activeFamilies(rules.Conntrack, o.Insist)) > 0 {
		wanted := traffic{}
		wanted.addPackets([]liverules.Selection{packets}, nil)
		p.Traffic = wanted.list()
	}
	p.Apart = apart(rules, p.Traffic, o.HandsOn)
	return p
}

// plan does so for what the rules are taken for.
func plan(rules *liverules.Rules, o Options) *Plan {
	p := &Plan{Zones: zones(rules), TemplateZone: templateZone(rules)}
	active := activeFamilies(rules.Conntrack, o.Insist)
	wanted := traffic{}
	for _, q := range rules.Queues {
		if IsGate(q) || o.toGate(q) || len(o.Queues) > 0 && !Touches(q.QueueStatement, o.Queues) {
			continue
		}
		for _, r := range q.Reaches {
			if r.Exposure == liverules.NotExposed {
				continue
			}
			site := liverules.Site{Rule: q, Reach: r}
			p.Exposing = append(p.Exposing, Exposing{Site: site, Own: o.owns(q)})
			wanted.addSite(rules, site, active)
		}
	}
	p.Traffic = wanted.list()
	p.findInstalled(rules, o, wanted)
	p.Beyond = beyond(rules, p.Exposing)
	p.Uncovered = append(unknown(rules, p.Exposing, o), p.Beyond...)
	return p
}

// owns: the rule is in the gate's own table.
func (o Options) owns(q liverules.QueueRule) bool {
	return q.Source == liverules.NFTables && q.Family == liverules.Inet && q.Table == o.Table
}

// toGate: the rule goes to the gate, and not to queues that are to be guarded.
func (o Options) toGate(q liverules.QueueRule) bool {
	guarded := len(o.Queues) > 0 && Touches(q.QueueStatement, o.Queues)
	return within(q.QueueStatement, o.Gate) && !guarded
}

// activeFamilies are those for which conntrack is active, or perhaps.
func activeFamilies(c liverules.Conntrack, insist bool) []liverules.Family {
	var list []liverules.Family
	for _, f := range []struct {
		family liverules.Family
		answer liverules.Answer
	}{{liverules.IPv4, c.IPv4}, {liverules.IPv6, c.IPv6}} {
		if f.answer == liverules.Yes || insist && f.answer == liverules.Unknown {
			list = append(list, f.family)
		}
	}
	return list
}

// zones lists the zones besides 0 that rules name.
func zones(rules *liverules.Rules) []uint16 {
	var list []uint16
	for _, z := range rules.Zones {
		if !z.Computed && z.ID != 0 {
			list = append(list, z.ID)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// templateZone is the zone of every packet with a template, as far as the rules
// tell: that which they set, or 0 where they set none. Rules that set a timeout
// policy or a helper beside one for a zone are not thought of.
func templateZone(rules *liverules.Rules) *uint16 {
	zone := uint16(0)
	for i, z := range rules.Zones {
		if z.Computed || z.Direction != "" || i > 0 && z.ID != zone {
			return nil
		}
		zone = z.ID
	}
	return &zone
}

func sameZone(a, b *uint16) bool { return a == b || a != nil && b != nil && *a == *b }

// findInstalled looks for gate rules that somebody else made.
func (p *Plan) findInstalled(rules *liverules.Rules, o Options, wanted traffic) {
	covered := coverage{}
	for _, q := range rules.Queues {
		if !o.owns(q) && o.toGate(q) && covered.add(q) {
			p.Installed = true
		}
	}
	if p.Installed {
		p.Missing = covered.missing(wanted).list()
	}
}
