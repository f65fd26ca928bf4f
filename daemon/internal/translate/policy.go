package translate

import (
	"fmt"

	"verdictd/daemon/internal/names/flows"
	"verdictd/daemon/internal/policy"
	"verdictd/daemon/internal/reassembly"
	"verdictd/daemon/internal/sets/live"
	"verdictd/internal/config"
	"verdictd/internal/vocabulary"
)

// Policy compiles a policy with its sets, those of Sets. Limits keep their states from the
// one before, which may be nil, where rules have them as before.
//
// Errors: Problems.
func Policy(p *config.Policy, sets []*live.Set, before *policy.Policy) (*policy.Policy, error) {
	n := &named{list: sets}
	c := policy.Config{Default: p.Default, Flow: p.Flow, RegexpBytes: p.RegexpBytes, Rules: make([]policy.Rule, len(p.Rules))}
	for _, d := range p.Defaults {
		if c.Defaults == nil {
			c.Defaults = map[uint8]vocabulary.Action{}
		}
		c.Defaults[uint8(d.Hook.Number())] = d.Action
	}
	for i := range p.Rules {
		c.Rules[i] = n.rule(fmt.Sprintf("policy.rules[%d]", i), &p.Rules[i], p.Flow)
	}
	if len(n.problems) > 0 {
		return nil, n.problems
	}
	compiled, err := policy.Compile(c, before)
	if err != nil {
		return nil, Problems{{Key: "policy.rules", Text: err.Error()}}
	}
	return compiled, nil
}

func (n *named) rule(key string, r *config.Rule, flow bool) policy.Rule {
	c := policy.Rule{
		Name: r.Name, Match: n.match(key, &r.Match), Action: r.Action, Log: r.Log, Sample: r.Sample,
		Hold: r.Pending == vocabulary.PendingHold,
	}
	if r.Queue != nil {
		c.Queue = *r.Queue
	}
	if m := r.SetMark; m != nil {
		c.Mark = policy.Masked{Value: m.Value, Mask: m.Mask}
	}
	if m := r.SetConnMark; m != nil {
		c.ConnMark = policy.Masked{Value: m.Value, Mask: m.Mask}
	}
	if l := r.Limit; l != nil {
		c.Limit = policy.Limit{
			Count: uint64(l.Rate.Packets), Interval: l.Rate.Each, Burst: uint64(l.Burst), Per: per(l.Per),
			IPv4: l.IPv4, IPv6: l.IPv6, Entries: l.Entries,
		}
	}
	if r.Flow != nil {
		flow = *r.Flow
	}
	switch r.Action {
	case vocabulary.Accept, vocabulary.Drop, vocabulary.Reject: // of others, each packet is asked for
		c.Flow = flow
	}
	return c
}

func per(p vocabulary.LimitPer) policy.Per {
	switch p {
	case vocabulary.LimitSource:
		return policy.PerSource
	case vocabulary.LimitDestination:
		return policy.PerDestination
	case vocabulary.LimitEntry:
		return policy.PerEntry
	}
	return policy.PerRule
}

// Flows are the bounds of the search for names.
func Flows(s *config.NameSearch) flows.Config {
	return flows.Config{
		Flows: s.Flows, QUICKeys: s.QUICKeys, DNSPorts: s.DNSPorts,
		Pending: reassembly.Config{Flows: s.Buffers, Bytes: s.Bytes, Packets: s.Packets, Age: int64(s.Time)},
	}
}

// Holds reports whether rules have packets wait for names.
func Holds(p *config.Policy) bool {
	for i := range p.Rules {
		if p.Rules[i].Pending == vocabulary.PendingHold {
			return true
		}
	}
	return false
}
