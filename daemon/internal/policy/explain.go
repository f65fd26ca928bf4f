package policy

import (
	"slices"

	"verdictd/internal/vocabulary"
)

// Explanation tells how a verdict comes about.
type Explanation struct {
	Verdict Verdict
	// Tried are the rules in their order, up to the one that decides.
	Tried []Tried
}

// Tried is a rule that a packet was held against.
type Tried struct {
	Rule   int
	Name   string
	Action vocabulary.Action
	Match  Value
	// Limited: it matches, and its rate is used up.
	Limited bool
	Parts   []Part
}

// Part is a key of a match.
type Part struct {
	Key   string // as in the configuration
	Match Value
	// Has is what the packet has there, as text; empty: nothing.
	Has string
	// Groups are the matches of not, any and all.
	Groups [][]Part
}

// Explain says what Decide would, and why. It counts no limits, hits, and allocates.
func (d *Decider) Explain(in *Input) (e Explanation) {
	p := d.policy
	if p == nil {
		return e
	}
	d.begin(in, &e.Verdict)
	d.peek = true
	defer func() { d.peek = false }()
	for i := range p.rules {
		r := &p.rules[i]
		d.found = d.found[:0]
		value := r.match.holds(d)
		t := Tried{Rule: i, Name: r.Name, Action: r.Action, Match: value, Parts: r.match.explain(d)}
		t.Limited = value == Yes && r.limit != nil && !d.take(r.limit, d.limitKey(r))
		e.Tried = append(e.Tried, t)
		if d.apply(i, r, value, &e.Verdict) {
			e.Verdict.Counted = slices.Clone(d.counted)
			return e
		}
	}
	p.byDefault(in, &e.Verdict)
	e.Verdict.Counted = slices.Clone(d.counted)
	return e
}

// explain asks all conditions, also behind one that is no.
func (m *match) explain(d *Decider) (parts []Part) {
	for i := range m.conditions {
		c := &m.conditions[i]
		part := Part{Key: c.key, Match: c.holds(d)}
		if c.has != nil {
			part.Has = c.has(d)
		}
		for _, group := range c.parts {
			part.Groups = append(part.Groups, group.explain(d))
		}
		parts = append(parts, part)
	}
	return parts
}
