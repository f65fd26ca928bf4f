package liverules

import "slices"

// A graph is the chains and who calls whom.
type graph struct {
	chains map[chainKey]*chain
	// Answers about chains, each found once.
	absorbing, leading map[*chain]bool
}

type chainKey struct {
	source      Source
	family      Family
	table, name string
}

func newGraph(chains []*chain) *graph {
	g := &graph{chains: map[chainKey]*chain{}, absorbing: map[*chain]bool{}, leading: map[*chain]bool{}}
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

// any reports whether something holds for a rule that can be reached from c.
// The kernel allows no loops; if there is one all the same, it adds nothing.
func (g *graph) any(memory map[*chain]bool, c *chain, holds func(*rule) bool) bool {
	if answer, ok := memory[c]; ok {
		return answer
	}
	memory[c] = false
	for i := range c.live() {
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
	return g.any(g.leading, c, func(r *rule) bool { return r.queue != nil || r.notrack })
}

// arrival is how packets come to a chain, from one base chain.
type arrival struct {
	known *known
	path  []string
	// only: there is one way, so that whoever satisfies all facts does come.
	only bool
}

// A visit is a rule that can be reached from a base chain.
type visit struct {
	base *chain
	rule *rule
	arrival
}

// walk visits the rules of interest that packets can reach from a base chain.
// Each chain is looked at once, after all its callers, with what is known on
// all ways to it.
func (g *graph) walk(from *chain, found func(visit)) {
	arrivals := map[*chain]arrival{from: {path: []string{from.name}, only: true}}
	for _, c := range g.order(from) {
		at, leads := arrivals[c], g.leads(c)
		for i := range c.live() {
			r := &c.rules[i]
			here := at
			if leads {
				for _, condition := range r.conditions {
					here.known = here.known.with(met(condition))
				}
			}
			if r.queue != nil || r.notrack || r.rewrite != "" {
				found(visit{from, r, here})
			}
			for _, name := range r.calls {
				if callee := g.called(c, name); callee != nil {
					arrivals[callee] = here.join(arrivals, callee)
				}
			}
			if f, ok := g.escape(c, r); ok && leads {
				at.known = at.known.with(f)
			}
		}
	}
}

// join is the arrival at a chain that is called from here, and perhaps was
// called before.
func (a arrival) join(arrivals map[*chain]arrival, callee *chain) arrival {
	before, again := arrivals[callee]
	if !again {
		return arrival{a.known, append(slices.Clone(a.path), callee.name), a.only}
	}
	return arrival{before.known.common(a.known), before.path, false}
}

// order lists the chains that can be reached, each behind all its callers.
func (g *graph) order(from *chain) []*chain {
	var done []*chain
	seen := map[*chain]bool{}
	var visit func(*chain)
	visit = func(c *chain) {
		seen[c] = true
		for _, r := range c.live() {
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
	f := fact{conditions: r.conditions, escaped: true, surely: r.outcomes&goesOn == 0}
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

// covers reports whether it is certain that the packets of another visit, whose
// keys are given, come here too: there is one way to this place, and all that
// it takes is literally known of them, by conditions that mean the same in both
// places.
func (v visit) covers(other visit, keys map[string]bool) bool {
	sameTable := v.base.source == other.base.source && v.base.family == other.base.family && v.base.table == other.base.table
	if !v.only {
		return false
	}
	for f := range v.known.all() {
		uncertain := f.escaped && !f.surely || slices.ContainsFunc(f.conditions, func(c condition) bool {
			return !c.stable || c.local && !sameTable
		})
		if uncertain || !keys[f.key] {
			return false
		}
	}
	return true
}
