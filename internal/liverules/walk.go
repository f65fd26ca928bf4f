package liverules

import "slices"

// A graph is the chains and who calls whom.
type graph struct {
	chains map[chainKey]*chain
	// Answers about chains, each found once.
	absorbing, leading map[*chain]bool
	ending             map[*chain]ending
}

type chainKey struct {
	source      Source
	family      Family
	table, name string
}

func newGraph(chains []*chain) *graph {
	g := &graph{chains: map[chainKey]*chain{}, absorbing: map[*chain]bool{}, leading: map[*chain]bool{}, ending: map[*chain]ending{}}
	for _, c := range chains {
		g.chains[chainKey{c.source, c.family, c.table, c.name}] = c
	}
	return g
}

// called is the chain that a rule of c calls; nil if there is none, which
// can only be when the rules changed while they were read.
func (g *graph) called(c *chain, name string) *chain {
	return g.chains[chainKey{c.source, c.family, c.table, name}]
}

// live are a chain's rules that packets can come to: those behind an unconditional
// verdict, or behind an unconditional call of a chain that ends, are not.
func (g *graph) live(c *chain) []rule {
	for i := range c.rules {
		if r := &c.rules[i]; len(r.conditions) == 0 && (r.outcomes&goesOn == 0 || g.endsIn(c, r)) {
			return c.rules[:i+1]
		}
	}
	return c.rules
}

// endsIn reports whether a rule of c does nothing but call a chain that ends.
func (g *graph) endsIn(c *chain, r *rule) bool {
	return len(r.calls) == 1 && (r.outcomes == goesOn || r.outcomes == handsOver) && g.allEnd(c, r)
}

// allEnd reports whether the chains that a rule of c calls all end.
func (g *graph) allEnd(c *chain, r *rule) bool {
	return !slices.ContainsFunc(r.calls, func(name string) bool {
		callee := g.called(c, name)
		return callee == nil || !g.ends(callee)
	})
}

// ending says whether no packet comes back from a chain.
type ending uint8

const (
	asking ending = 1 + iota
	inLoop        // a chain that the question came back to
	comesOut
	ends
)

// ends reports whether no packet comes back from a chain, as where its last rule
// rejects the rest. In doubt, some do.
func (g *graph) ends(c *chain) bool {
	switch g.ending[c] {
	case asking, inLoop:
		g.ending[c] = inLoop
		return false
	case comesOut, ends:
		return g.ending[c] == ends
	}
	g.ending[c] = asking
	answer := comesOut
	for i := range c.rules {
		r := &c.rules[i]
		always := len(r.conditions) == 0 && (r.outcomes == absorbed || g.endsIn(c, r))
		if always && g.ending[c] != inLoop {
			answer = ends
		}
		if always || r.outcomes&comesBack != 0 || r.outcomes&handsOver != 0 && !g.allEnd(c, r) {
			break
		}
	}
	g.ending[c] = answer
	return answer == ends
}

// any reports whether something holds for a rule that can be reached from c.
// The kernel allows no loops; if there is one all the same, it adds nothing.
func (g *graph) any(memory map[*chain]bool, c *chain, holds func(*rule) bool) bool {
	if answer, ok := memory[c]; ok {
		return answer
	}
	memory[c] = false
	for i := range g.live(c) {
		r := &c.rules[i]
		found := holds(r)
		for _, name := range r.calls {
			if callee := g.called(c, name); !found && callee != nil {
				found = g.any(memory, callee, holds)
			}
		}
		if found {
			memory[c] = true
			return true
		}
	}
	return false
}

// absorbs reports whether packets may not come back from a chain.
func (g *graph) absorbs(c *chain) bool {
	return g.any(g.absorbing, c, func(r *rule) bool { return r.outcomes&absorbed != 0 })
}

// leads reports whether a chain has, or leads to, rules about which it matters
// by which packets they are reached.
func (g *graph) leads(c *chain) bool {
	return g.any(g.leading, c, func(r *rule) bool { return r.queue != nil || r.notrack || r.rewrite != "" })
}

// An arrival is one way to come to a chain or a rule: what is known of the
// packets that do, and the chains up to there. All packets of which it is known
// come.
type arrival struct {
	known *known
	path  []string
}

// arrivals are the ways from one base chain.
type arrivals struct {
	list []arrival
	// merged: there were too many, so that one stands for all, with what is
	// known of all their packets. Others of which it is known may not come.
	merged bool
}

// maxArrivals bounds the work: each chain called twice by each of a row of chains
// doubles the number of ways.
const maxArrivals = 16

func (a arrivals) common() *known {
	k := a.list[0].known
	for _, other := range a.list[1:] {
		k = k.common(other.known)
	}
	return k
}

// add joins the ways by which a rule calls a chain, here given by its caller's
// ways, to those there are.
func (a arrivals) add(more arrivals, callee string) arrivals {
	for _, m := range more.list {
		a.list = append(a.list, arrival{m.known, append(slices.Clone(m.path), callee)})
	}
	a.merged = a.merged || more.merged
	if len(a.list) > maxArrivals {
		a = arrivals{[]arrival{{a.common(), a.list[0].path}}, true}
	}
	return a
}

// with is what is known after each of some facts.
func (a arrivals) with(facts ...fact) arrivals {
	list := slices.Clone(a.list)
	for i := range list {
		for _, f := range facts {
			list[i].known = list[i].known.with(f)
		}
	}
	return arrivals{list, a.merged}
}

// A visit is a rule that can be reached from a base chain.
type visit struct {
	base *chain
	rule *rule
	arrivals
}

// walk visits the rules of interest that packets can reach from a base chain.
// Each chain is looked at once, after all its callers.
func (g *graph) walk(from *chain, found func(visit)) {
	at := map[*chain]arrivals{from: {list: []arrival{{path: []string{from.name}}}}}
	for _, c := range g.order(from) {
		before, leads := at[c], g.leads(c)
		for i := range g.live(c) {
			r := &c.rules[i]
			here := before
			if leads && len(r.conditions) > 0 {
				var facts []fact
				for _, condition := range r.conditions {
					facts = append(facts, met(condition))
				}
				here = before.with(facts...)
			}
			if r.queue != nil || r.notrack || r.rewrite != "" || r.source != "" {
				found(visit{from, r, here})
			}
			for _, name := range r.calls {
				if callee := g.called(c, name); callee != nil {
					at[callee] = at[callee].add(here, name)
				}
			}
			if f, ok := g.escape(c, r); ok && leads {
				before = before.with(f)
			}
		}
	}
}

// order lists the chains that can be reached, each behind all its callers.
func (g *graph) order(from *chain) []*chain {
	var done []*chain
	seen := map[*chain]bool{}
	var visit func(*chain)
	visit = func(c *chain) {
		seen[c] = true
		for _, r := range g.live(c) {
			for _, name := range r.calls {
				if callee := g.called(c, name); callee != nil && !seen[callee] {
					visit(callee)
				}
			}
		}
		done = append(done, c)
	}
	visit(from)
	slices.Reverse(done)
	return done
}

// escape is what is known, behind a rule, of those packets that come there.
func (g *graph) escape(c *chain, r *rule) (fact, bool) {
	f := fact{conditions: r.conditions, escaped: true, surely: r.outcomes&goesOn == 0 || g.endsIn(c, r)}
	f.key = "not: " + matchText(r.conditions)
	if !f.surely {
		f.key = "perhaps " + f.key
	}
	taken := r.outcomes&^goesOn != 0
	for _, name := range r.calls {
		f.key += " -> " + name
		callee := g.called(c, name)
		taken = taken || callee != nil && g.absorbs(callee)
	}
	return f, taken
}

// covers reports whether it is certain that packets which come by a way of
// another visit, whose keys are given, come here too: all that it takes is
// literally known of them, by conditions that mean the same in both places.
func (v visit) covers(other visit, keys map[string]bool) bool {
	sameTable := v.base.source == other.base.source && v.base.family == other.base.family && v.base.table == other.base.table
	taken := func(a arrival) bool {
		for f := range a.known.all() {
			uncertain := f.escaped && !f.surely || slices.ContainsFunc(f.conditions, func(c condition) bool {
				return !c.stable || c.local && !sameTable
			})
			if uncertain || !keys[f.key] {
				return false
			}
		}
		return true
	}
	return !v.merged && slices.ContainsFunc(v.list, taken)
}
