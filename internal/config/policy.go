package config

import (
	"fmt"
	"net/netip"
	"slices"

	"verdictd/internal/vocabulary"
)

// Policy decides about a packet: the first rule that matches, or the default.
type Policy struct {
	Default vocabulary.Action `yaml:"default"`
	// Undecodable is for packets whose headers cannot be decoded to their end, which
	// no rule can be held against.
	Undecodable vocabulary.Action `yaml:"undecodable"`
	Rules       []PolicyRule      `yaml:"rules"`
}

// PolicyRule matches where every list does; an empty one matches everything.
type PolicyRule struct {
	Name             string                `yaml:"name"`
	Action           vocabulary.Action     `yaml:"action"`
	Protocols        []vocabulary.Protocol `yaml:"protocols"`
	Source           []netip.Prefix        `yaml:"source"`
	Destination      []netip.Prefix        `yaml:"destination"`
	SourcePorts      []Ports               `yaml:"source_ports"`
	DestinationPorts []Ports               `yaml:"destination_ports"`
}

func (f *file) checkPolicy(p *Policy) {
	for i := range p.Rules {
		f.checkRule(fmt.Sprintf("policy.rules[%d]", i), &p.Rules[i])
	}
}

// checkRule reports what is wrong with one rule, which is the value of key.
func (f *file) checkRule(key string, r *PolicyRule) {
	// Its absence must not read as accept.
	if action := key + ".action"; f.at[action] == nil {
		f.wrong(action, "is missing: write accept or drop")
	}
	f.checkPrefixes(key+".source", r.Source)
	f.checkPrefixes(key+".destination", r.Destination)
	if oneFamilyEach(r.Source, r.Destination) {
		f.wrong(key+".destination", "one of source and destination is all IPv4 and the other all IPv6, which no packet is: split or correct the rule")
	}
	f.checkRulePorts(key, "source_ports", r.SourcePorts, r.Protocols)
	f.checkRulePorts(key, "destination_ports", r.DestinationPorts, r.Protocols)
}

func (f *file) checkPrefixes(key string, list []netip.Prefix) {
	for i, p := range list {
		if masked := p.Masked(); masked != p && p.IsValid() {
			f.wrong(fmt.Sprintf("%s[%d]", key, i), "%s has bits set beyond its length: write %s or %s", p, masked, netip.PrefixFrom(p.Addr(), p.Addr().BitLen()))
		}
	}
}

// checkRulePorts is about one of a rule's lists of ports, which must go with its
// protocols.
func (f *file) checkRulePorts(rule, field string, list []Ports, protocols []vocabulary.Protocol) {
	for i, p := range list {
		if p.First > p.Last {
			f.wrong(fmt.Sprintf("%s.%s[%d]", rule, field, i), "%d-%d begins above its end: write %d-%d", p.First, p.Last, p.Last, p.First)
		}
	}
	if len(list) == 0 {
		return
	}
	for i, p := range protocols {
		if !vocabulary.HasPorts(uint8(p)) {
			f.wrong(fmt.Sprintf("%s.protocols[%d]", rule, i), "protocol %d has no ports, so it can never match %s: give it a rule of its own", uint8(p), field)
		}
	}
}

// oneFamilyEach reports lists that no packet can match both of. What could not be
// read has its own problem and counts as either.
func oneFamilyEach(a, b []netip.Prefix) bool {
	is4 := func(p netip.Prefix) bool { return !p.Addr().Is6() }
	is6 := func(p netip.Prefix) bool { return !p.Addr().Is4() }
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	both4 := slices.ContainsFunc(a, is4) && slices.ContainsFunc(b, is4)
	both6 := slices.ContainsFunc(a, is6) && slices.ContainsFunc(b, is6)
	return !both4 && !both6
}
