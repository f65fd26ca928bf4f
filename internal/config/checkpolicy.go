package config

import (
	"fmt"
	"slices"

	"verdictd/internal/vocabulary"
)

func (f *file) checkPolicy(p *Policy) {
	for i := range p.Rules {
		f.checkRule(fmt.Sprintf("policy.rules[%d]", i), &p.Rules[i])
	}
}

// checkRule reports what is wrong with one rule, which is the value of key.
func (f *file) checkRule(key string, r *Rule) {
	// Its absence must not read as accept.
	if action := key + ".action"; f.at[action] == nil {
		f.wrong(action, "is missing: write accept, drop, reject, requeue, repeat or count")
	}
	f.checkPrefixes(key+".source", r.Source)
	f.checkPrefixes(key+".destination", r.Destination)
	if oneFamilyEach(r.Source, r.Destination) {
		f.wrong(key+".destination", "one of source and destination is all IPv4 and the other all IPv6, which no packet is: split or correct the rule")
	}
	f.checkRulePorts(key, "source_ports", r.SourcePorts, r.Protocols)
	f.checkRulePorts(key, "destination_ports", r.DestinationPorts, r.Protocols)
}

func (f *file) checkPrefixes(key string, list []Prefix) {
	for i, p := range list {
		if masked := p.Masked(); masked != p.Prefix && p.IsValid() {
			host := Prefix{Prefix: p.Prefix}
			f.wrong(fmt.Sprintf("%s[%d]", key, i), "%s has bits set beyond its length: write %s or %s/%d", p.Prefix, masked, host.Addr(), host.Addr().BitLen())
		}
	}
}

// checkRulePorts is about one of a rule's lists of ports, which must go with its
// protocols.
func (f *file) checkRulePorts(rule, field string, list []Ports, protocols []vocabulary.Protocol) {
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
// read has its own problem and counts as either, as sets do.
func oneFamilyEach(a, b []Prefix) bool {
	is4 := func(p Prefix) bool { return !p.Addr().Is6() }
	is6 := func(p Prefix) bool { return !p.Addr().Is4() }
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	both4 := slices.ContainsFunc(a, is4) && slices.ContainsFunc(b, is4)
	both6 := slices.ContainsFunc(a, is6) && slices.ContainsFunc(b, is6)
	return !both4 && !both6
}
