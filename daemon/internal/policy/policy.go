package policy

import (
	"fmt"
	"slices"
	"sync/atomic"

	"verdictd/daemon/internal/policy/bytematch"
	"verdictd/daemon/internal/policy/limit"
	"verdictd/internal/vocabulary"
)

// Policy is compiled by Compile. A nil Policy accepts everything.
type Policy struct {
	def      vocabulary.Action
	defaults [8]vocabulary.Action // by hook
	flow     bool
	rules    []rule
	chunks   []*chunk
	needs    Needs
	// byName is the first rule that looks at names, or beyond all.
	byName int

	sets     []string
	slots    int
	clocks   int
	regexps  []*bytematch.Regexp
	patterns []string
	devices  atomic.Pointer[deviceTable]
}

// rule is compiled from a Rule.
type rule struct {
	Rule
	match *match
	// left is what the index has not answered.
	left  match
	limit *limit.Limit // nil: none
}

// Compile prepares rules for deciding. That they make sense is for who reads them to
// check: what no packet matches has no effect. Limits go on from where previous, which may
// be nil, has them for a rule with the same name and limit. It returns an error for names,
// expressions and limits that cannot be, and takes over what cfg points to.
func Compile(cfg Config, previous *Policy) (*Policy, error) {
	c := &compiler{numbers: map[any]int{}, slots: map[slot]int{}, regexpBytes: cfg.RegexpBytes}
	if c.regexpBytes == 0 {
		c.regexpBytes = defaultRegexpBytes
	}
	p := &Policy{def: cfg.Default, flow: cfg.Flow, rules: make([]rule, len(cfg.Rules))}
	for hook := range p.defaults {
		p.defaults[hook] = cfg.Default
		if action, ok := cfg.Defaults[uint8(hook)]; ok {
			p.defaults[hook] = action
		}
	}
	limited := previous.limited()
	p.byName = len(cfg.Rules) + 1
	for i := range cfg.Rules {
		if err := p.rules[i].compile(c, &cfg.Rules[i], limited); err != nil {
			return nil, fmt.Errorf("rule %s: %w", nameOf(&cfg.Rules[i], i), err)
		}
		n, r := &c.needs, &cfg.Rules[i]
		if n.Names {
			p.byName = min(p.byName, i)
		}
		n.Now = n.Now || r.Limit != Limit{}
		n.Logs, n.Samples, n.Flows = n.Logs || r.Log > 0, n.Samples || r.Sample > 0, n.Flows || r.Flow
		n.SetConnMark = n.SetConnMark || r.ConnMark.Mask != 0
	}
	p.needs, p.sets, p.slots, p.clocks, p.regexps, p.patterns = c.needs, c.sets, len(c.slots), c.clocks, c.regexps, c.patterns
	p.needs.Flows = p.needs.Flows || p.flow
	p.index()
	p.SetDevices(nil)
	return p, nil
}

func nameOf(r *Rule, i int) string {
	if r.Name != "" {
		return fmt.Sprintf("%q", r.Name)
	}
	return fmt.Sprintf("#%d", i+1)
}

func (r *rule) compile(c *compiler, from *Rule, previous map[string]*rule) (err error) {
	r.Rule = *from
	if r.match, err = c.match(&r.Match); err != nil {
		return err
	}
	return r.limits(previous)
}

// limited are the rules with a name and a limit.
func (p *Policy) limited() map[string]*rule {
	list := map[string]*rule{}
	if p == nil {
		return list
	}
	for i := range p.rules {
		if r := &p.rules[i]; r.limit != nil && r.Name != "" {
			list[r.Name] = r
		}
	}
	return list
}

func (p *Policy) index() {
	for first := 0; first < len(p.rules); first += chunkRules {
		rules := p.rules[first:min(len(p.rules), first+chunkRules)]
		c := newChunk(first, rules)
		for place, i := range c.order {
			rules[i].left.conditions = c.enter(place, rules[i].match)
		}
		c.build()
		p.chunks = append(p.chunks, c)
	}
}

// Needs is what the rules look at.
func (p *Policy) Needs() Needs {
	if p == nil {
		return Needs{}
	}
	return p.needs
}

// Rules is how many there are.
func (p *Policy) Rules() int {
	if p == nil {
		return 0
	}
	return len(p.rules)
}

// Rule is one by its number, for those who carry out what it says.
func (p *Policy) Rule(i int) *Rule { return &p.rules[i].Rule }

// Action is that of a rule by its number, and of the default behind them.
func (p *Policy) Action(rule int) vocabulary.Action {
	switch {
	case p == nil:
		return vocabulary.Accept
	case rule < len(p.rules):
		return p.rules[rule].Action
	}
	return p.def
}

// Sets are the names of all sets that rules look into, as Decider.Hits counts them.
func (p *Policy) Sets() []string {
	if p == nil {
		return nil
	}
	return slices.Clone(p.sets)
}
