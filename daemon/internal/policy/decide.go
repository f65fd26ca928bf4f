package policy

import (
	"net/netip"
	"slices"

	"verdictd/daemon/internal/names/flows"
	"verdictd/daemon/internal/policy/bytematch"
	"verdictd/daemon/internal/policy/index"
	"verdictd/internal/vocabulary"
)

// Decider decides by a policy. It belongs to one goroutine, and there may be several.
type Decider struct {
	policy *Policy
	hits   []uint64

	// What follows is about the packet that is decided on.
	in         *Input
	packet     uint64 // how many there were
	src, dst   netip.Addr
	devices    *deviceTable
	peek       bool // limits are not counted
	rows       []index.Row
	candidates index.Row // of a chunk
	remembered []remembered
	found      []int // numbers of sets that the rule's match has found something in
	clocks     []answer
	counted    []int32
	key        []byte
	scratch    bytematch.Scratch
}

// NewDecider makes one.
func (p *Policy) NewDecider() *Decider {
	d := &Decider{policy: p}
	if p == nil {
		return d
	}
	d.hits = make([]uint64, len(p.sets))
	d.rows, d.candidates = make([]index.Row, 0, dimensions), index.NewRow(min(chunkRules, len(p.rules)))
	d.remembered, d.clocks = make([]remembered, p.slots), make([]answer, p.clocks)
	d.found, d.key = make([]int, 0, 64), make([]byte, 0, 4096)
	d.counted = make([]int32, 0, len(p.rules))
	for _, r := range p.regexps {
		if r.Walks() {
			d.scratch.Grow(r)
		}
	}
	return d
}

// Hits are packets that a rule has matched because of a set, by the set's number in
// Policy.Sets. They grow as the Decider decides.
func (d *Decider) Hits() []uint64 { return d.hits }

// Decide says what becomes of a packet. It allocates nothing, takes no lock, and counts
// limits.
func (d *Decider) Decide(in *Input, v *Verdict) {
	p := d.policy
	if p == nil || len(p.rules) == 0 {
		*v = Verdict{}
		if p != nil {
			p.byDefault(in, v)
		}
		return
	}
	d.begin(in, v)
	for number, c := range p.chunks {
		d.candidates.Clear()
		d.candidates.Common(c.look(d, number), c.order)
		for i, ok := d.candidates.Take(); ok; i, ok = d.candidates.Take() {
			r := &p.rules[c.first+i]
			d.found = d.found[:0]
			if d.apply(c.first+i, r, r.left.holds(d), v) {
				return
			}
		}
	}
	p.byDefault(in, v)
	v.Counted = d.counted
}

// begin takes a packet.
func (d *Decider) begin(in *Input, v *Verdict) {
	*v = Verdict{}
	d.in = in
	d.packet++
	d.counted = d.counted[:0]
	d.src, d.dst = in.View.Src(), in.View.Dst()
	d.devices = d.policy.devices.Load()
}

// apply does what a rule says for a packet that its match has that value for, and reports
// whether the search ends there.
func (d *Decider) apply(i int, r *rule, value Value, v *Verdict) (ends bool) {
	switch value {
	case No:
		return false
	case Pending:
		// What only counts says nothing about the packet.
		if r.Action == vocabulary.Count {
			return false
		}
		v.Action, v.Rule, v.Pending, v.Hold = vocabulary.Accept, i, true, r.Hold
		v.Counted = d.counted
		return true
	}
	if r.limit != nil && !d.take(r.limit, d.limitKey(r)) {
		return false
	}
	d.hit()
	v.Mark, v.ConnMark = v.Mark.over(r.Mark), v.ConnMark.over(r.ConnMark)
	if r.Action == vocabulary.Count {
		d.counted = append(d.counted, int32(i))
		return false
	}
	v.Action, v.Rule, v.Queue, v.Flow = r.Action, i, r.Queue, r.Flow && d.policy.wholeFlow(d.in, i)
	v.Counted = d.counted
	return true
}

// hit counts the sets that have made the rule match, each once.
func (d *Decider) hit() {
	if d.peek {
		return
	}
	for i, set := range d.found {
		if !slices.Contains(d.found[:i], set) {
			d.hits[set]++
		}
	}
}

func (p *Policy) byDefault(in *Input, v *Verdict) {
	v.Action, v.Rule = p.defaults[in.Hook&7], len(p.rules)
	v.Flow = p.flow && p.wholeFlow(in, v.Rule)
}

// wholeFlow reports whether what a rule says of a packet can be for its flow. Each message
// of DNS has a name of its own, so that a verdict behind a look at names is for one alone.
func (p *Policy) wholeFlow(in *Input, rule int) bool {
	return rule < p.byName || in.Name.Protocol != flows.DNS
}
