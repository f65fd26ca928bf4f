package liverules

import (
	"iter"
	"slices"
)

// A fact is something known of all packets that come to a place: that they met
// a condition, or that they did not all meet those of a rule which would have
// taken them elsewhere.
type fact struct {
	conditions []condition
	escaped    bool // they did not meet all
	// surely: whoever meets the conditions is gone. Otherwise the rule takes
	// some of them, by a map or by the chain that it calls.
	surely bool
	key    string // facts of the same key say the same
}

func met(c condition) fact {
	return fact{conditions: []condition{c}, key: c.text}
}

// single is the fact's condition, if it has one.
func (f fact) single() (condition, bool) {
	if len(f.conditions) != 1 || f.escaped && !f.surely {
		return condition{}, false
	}
	return f.conditions[0], true
}

// known is a list of facts; nil is the empty one. Lists share their beginnings:
// each rule of a long chain is known to be behind all those before it.
type known struct {
	fact
	before *known
	length int

	// What all the facts leave: within; nil: all packets. The families are but those
	// without.
	within  *limits
	without families
}

func (k *known) len() int {
	if k == nil {
		return 0
	}
	return k.length
}

func (k *known) with(f fact) *known {
	next := &known{fact: f, before: k, length: k.len() + 1}
	next.within, next.without = k.limits(), f.rulesOut()
	if k != nil {
		next.without |= k.without
	}
	switch l := f.limits(); {
	case l == nil:
	case next.within == nil:
		next.within = l
	default:
		both := next.within.and(*l)
		next.within = &both
	}
	return next
}

func (k *known) all() iter.Seq[fact] { return k.since(nil) }

// since are the facts behind a list that k begins with.
func (k *known) since(beginning *known) iter.Seq[fact] {
	return func(yield func(fact) bool) {
		for ; k != beginning; k = k.before {
			if !yield(k.fact) {
				return
			}
		}
	}
}

// keys are those of the facts.
func (k *known) keys() map[string]bool {
	keys := map[string]bool{}
	for f := range k.all() {
		keys[f.key] = true
	}
	return keys
}

// common is what is known in both places.
func (k *known) common(other *known) *known {
	a, b := k, other
	for a != b {
		if a.len() >= b.len() {
			a = a.before
		} else {
			b = b.before
		}
	}
	beginning := a
	shorter, longer := k, other
	if shorter.len() > longer.len() {
		shorter, longer = longer, shorter
	}
	if shorter == beginning {
		return beginning
	}
	here := map[string]fact{}
	for f := range shorter.since(beginning) {
		here[f.key] = f
	}
	both := beginning
	for f := range longer.since(beginning) {
		if _, ok := here[f.key]; ok {
			both = both.with(f)
		}
	}
	return both
}

// families are those of a base chain's family that the facts leave.
func (k *known) families(of Family) families {
	left := of.families()
	if of == Inet && k != nil {
		left &^= k.without
	}
	return left
}

// rulesOut are the families whose packets a fact leaves out.
func (f fact) rulesOut() families {
	c, ok := f.single()
	switch {
	case !ok || c.family == "":
		return 0
	case f.escaped:
		return c.family.families()
	}
	return ^c.family.families()
}

// match renders the conditions, in the order in which they are met.
func (k *known) match() string {
	var conditions []condition
	for f := range k.all() {
		if !f.escaped {
			conditions = append(conditions, f.conditions...)
		}
	}
	slices.Reverse(conditions)
	return matchText(conditions)
}

// has reports whether all packets here meet a condition of some kind.
func (k *known) has(kind func(condition) bool) bool {
	for f := range k.all() {
		if !f.escaped && kind(f.conditions[0]) {
			return true
		}
	}
	return false
}

func establishedOnly(c condition) bool { return c.established }
func confirmedOnly(c condition) bool   { return c.confirmed }
func isSpread(c condition) bool        { return c.spread }
