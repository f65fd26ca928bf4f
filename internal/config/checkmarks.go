package config

import (
	"fmt"

	"verdictd/internal/vocabulary"
)

// ForFlow reports whether a rule's verdict is for the flow.
func (p *Policy) ForFlow(r *Rule) bool {
	decides := r.Action == vocabulary.Accept || r.Action == vocabulary.Drop || r.Action == vocabulary.Reject
	return decides && (r.Flow == nil && p.Flow || r.Flow != nil && *r.Flow)
}

// KeepsFlows reports whether any verdict is for a flow.
func (p *Policy) KeepsFlows() bool {
	keeps := p.Flow // the defaults are for flows too
	for i := range p.Rules {
		keeps = keeps || p.ForFlow(&p.Rules[i])
	}
	return keeps
}

// NeedsMarks reports whether the kernel's rules have a part in a verdict, which they are told
// by marks (vocabulary.Marks).
func (p *Policy) NeedsMarks() bool {
	needs := p.KeepsFlows() || p.Default == vocabulary.Reject
	for i := range p.Defaults {
		needs = needs || p.Defaults[i].Action == vocabulary.Reject
	}
	for i := range p.Rules {
		a := p.Rules[i].Action
		needs = needs || a == vocabulary.Reject || a == vocabulary.Repeat
	}
	return needs
}

// Queues reports whether rules of the daemon's own queue packets, and so can take part in verdicts.
func (r *Rules) Queues() bool { return r.noRules() == "" }

// noRules is the setting by which the daemon has no rules that queue packets; empty: it has some.
func (r *Rules) noRules() string {
	switch {
	case !r.Install:
		return "rules.install is false"
	case r.Placement == vocabulary.PlacementNone:
		return "rules.placement is none"
	}
	return ""
}

// checkMarks reports bits that cannot be, bits that rules change too, and rules that nothing
// in the kernel carries out.
func (f *file) checkMarks(c *Config) {
	r, p := &c.Rules, &c.Policy
	if err := r.MarkMask.Check(); err != nil {
		f.wrong("rules.mark_mask", "%v", err)
	}
	switch err := r.ConnMarkMask.Check(); {
	case err != nil:
		f.wrong("rules.connmark_mask", "%v", err)
	case r.ConnMarkMask.Generations() != r.MarkMask.Generations():
		f.wrong("rules.connmark_mask", "%v has another number of bits than rules.mark_mask, %v: use as many in both", r.ConnMarkMask, r.MarkMask)
	}
	if p.Flow {
		f.checkFlow("policy.flow", r)
	}
	f.checkReject("policy.default", p.Default, r)
	for i := range p.Defaults {
		f.checkReject(fmt.Sprintf("policy.defaults[%d].action", i), p.Defaults[i].Action, r)
	}
	for i := range p.Rules {
		rule, key := &p.Rules[i], fmt.Sprintf("policy.rules[%d]", i)
		if p.ForFlow(rule) && rule.Flow != nil {
			f.checkFlow(key+".flow", r)
		}
		f.checkReject(key+".action", rule.Action, r)
		if m := rule.SetMark; m != nil && r.Queues() && p.NeedsMarks() && m.Mask&uint32(r.MarkMask) != 0 {
			f.wrong(key+".set_mark", "has bits of rules.mark_mask, %v, which the daemon's rules take off: use others, or give rules.mark_mask others", r.MarkMask)
		}
		if m := rule.SetConnMark; m != nil && p.KeepsFlows() && m.Mask&uint32(r.ConnMarkMask) != 0 {
			f.wrong(key+".set_connmark", "has bits of rules.connmark_mask, %v, where verdicts on flows are kept: use others, or give rules.connmark_mask others", r.ConnMarkMask)
		}
	}
}

// checkReject reports where nothing can reject a packet.
func (f *file) checkReject(key string, action vocabulary.Action, r *Rules) {
	if without := r.noRules(); action == vocabulary.Reject && without != "" {
		f.wrong(key, "is reject, which the daemon's own rules do, and %s: write drop, or let the daemon install its rules", without)
	}
}

// checkFlow reports where verdicts for flows cannot be kept.
func (f *file) checkFlow(key string, r *Rules) {
	switch without := r.noRules(); {
	case without != "":
		f.wrong(key, "is true, which takes the daemon's own rules, and %s: write false, or let the daemon install its rules", without)
	case !r.Placement.Exposed():
		f.wrong(key, "is true, and with rules.placement %s packets have no entry of connection tracking, where it is kept: write false, or choose another placement", r.Placement)
	}
}
