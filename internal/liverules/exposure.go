package liverules

import (
	"cmp"
	"slices"

	"golang.org/x/sys/unix"
)

// Exposure says whether a rule makes clashes possible.
type Exposure string

// The exposures, the worst first.
const (
	Exposed         Exposure = "exposed"
	ExposureUnknown Exposure = "unknown"
	NotExposed      Exposure = "not-exposed"
)

func (e Exposure) rank() int {
	return slices.Index([]Exposure{Exposed, ExposureUnknown, NotExposed}, e)
}

// analyse makes of the chains what there is to say about queues. Complete: there
// are no others.
func analyse(chains []*chain, s surroundings, complete bool) *Rules {
	return analyseWith(chains, s, s.conntrack(chains, complete))
}

// analyseWith does so for what is known of conntrack.
func analyseWith(chains []*chain, s surroundings, conntrack Conntrack) *Rules {
	rules := &Rules{
		Queues: []QueueRule{}, Rewrites: []Rewrite{}, Notracks: []Notrack{}, SourceNAT: []Rewrite{},
		Conntrack: conntrack, IPVS: s.ipvsUntracked,
		assuming: func(c Conntrack) *Rules { return analyseWith(chains, s, c) },
	}
	visits := visitsOf(chains)
	var notracks []visit
	for _, c := range chains {
		for i := range c.rules {
			if r := &c.rules[i]; r.notrack {
				notracks = append(notracks, visits[r]...)
			}
		}
	}
	for _, c := range chains {
		for i := range c.rules {
			r := &c.rules[i]
			place, match := c.place(r), matchText(r.conditions)
			if z := r.zone; z != nil && (z.computed || z.id != 0) {
				rules.Zones = append(rules.Zones, Zone{place, z.id, z.computed, z.direction})
			}
			if r.mangles {
				rules.Mangling = append(rules.Mangling, place)
			}
			switch {
			case r.queue != nil:
				q := QueueRule{Place: place, QueueStatement: *r.queue, Comment: r.comment, Match: match, Reaches: []Reach{}}
				for _, v := range visits[r] {
					q.Reaches = append(q.Reaches, reachOf(v, s, rules.Conntrack, notracks))
				}
				q.conclude(visits[r])
				rules.Queues = append(rules.Queues, q)
			case r.rewrite != "":
				rules.Rewrites = append(rules.Rewrites, Rewrite{place, r.rewrite, match, waysTo(visits[r])})
			case r.source != "":
				rules.SourceNAT = append(rules.SourceNAT, Rewrite{place, r.source, match, waysTo(visits[r])})
			case r.notrack:
				rules.Notracks = append(rules.Notracks, Notrack{place, match, waysTo(visits[r])})
			}
		}
	}
	return rules
}

// visitsOf finds for each rule the ways to it.
func visitsOf(chains []*chain) map[*rule][]visit {
	g := newGraph(chains)
	visits := map[*rule][]visit{}
	for _, c := range chains {
		if c.base != nil {
			g.walk(c, func(v visit) { visits[v.rule] = append(visits[v.rule], v) })
		}
	}
	return visits
}

// conclude sums up the rule's reaches.
func (q *QueueRule) conclude(visits []visit) {
	if q.Fanout == FanoutNone && slices.ContainsFunc(visits, func(v visit) bool { return v.common().has(isSpread) }) {
		q.Fanout = FanoutMap
	}
	slices.SortStableFunc(q.Reaches, func(a, b Reach) int { return cmp.Compare(a.Exposure.rank(), b.Exposure.rank()) })
	q.Exposure, q.Reason = NotExposed, "no packet can come to this rule"
	if len(q.Reaches) > 0 {
		q.Exposure, q.Reason = q.Reaches[0].Exposure, q.Reaches[0].Reason
	}
}

func waysTo(visits []visit) []Way {
	list := []Way{}
	for _, v := range visits {
		list = append(list, v.way())
	}
	return list
}

func (v visit) way() Way {
	b := v.base.base
	return Way{b.hook, b.priority, v.list[0].path, v.common().families(v.base.family).list(), v.packets(v.base.family)}
}

// reachOf judges one way to a queue rule.
func reachOf(v visit, s surroundings, conntrack Conntrack, notracks []visit) Reach {
	known := v.common()
	r := Reach{Way: v.way(), Match: known.match()}
	r.Untracked = untracked(v, r.families(), notracks)
	r.Position, r.Reason = position(v.base.family, r.Hook, r.Priority)
	if v.base.family == Bridge {
		r.Position, r.Reason = bridgePosition(r, s, conntrack)
	}
	r.Exposure, r.Reason = exposure(r, known, v.confirmed(), conntrack)
	return r
}

// bridgePosition is for a bridge's hooks, where conntrack may be at work twice:
// in hooks of its own, or through those of IP.
func bridgePosition(r Reach, s surroundings, conntrack Conntrack) (Position, string) {
	switch {
	case r.Position == BeforeLookup || r.Position == AfterConfirm:
		return r.Position, r.Reason
	case conntrack.Bridge == Yes:
		return r.Position, r.Reason
	case s.bridgeCalls != No:
		return Undecided, "br_netfilter runs the hooks of IP, conntrack's among them, within those of the bridge"
	case conntrack.Bridge == Unknown:
		return Undecided, "it is unknown whether conntrack is active on bridges"
	}
	return Outside, "conntrack is not active on bridges"
}

// untracked says whether notrack rules have taken the packets of v out, which
// may have been in several hooks.
func untracked(v visit, f families, notracks []visit) Answer {
	all, some := true, false
	for _, h := range entries(v.base.base.hook) {
		var certain []visit
		for _, n := range notracks {
			b, of := n.base.base, n.way().families()
			if b.hook != h || b.priority > LookupPriority || of&f == 0 {
				continue
			}
			some = true
			if b.priority < LookupPriority && f&^of == 0 {
				certain = append(certain, n)
			}
		}
		all = all && v.coveredBy(certain)
	}
	switch {
	case !some:
		return No
	case all:
		return Yes
	}
	return Unknown
}

// coveredBy reports whether the packets of each arrival come to one of other visits.
func (v visit) coveredBy(others []visit) bool {
	if len(others) == 0 {
		return false
	}
	for _, a := range v.list {
		keys := a.known.keys()
		if !slices.ContainsFunc(others, func(o visit) bool { return o.covers(v, keys) }) {
			return false
		}
	}
	return true
}

// exposure judges a reach of which the position is known. Confirmed: conntrack's states
// leave no packet with an unconfirmed entry.
func exposure(r Reach, k *known, confirmed bool, conntrack Conntrack) (Exposure, string) {
	f := r.families()
	if f&bridged != 0 {
		f |= ipv4 | ipv6 // through br_netfilter
	}
	active := conntrack.of(f)
	switch {
	case f == 0:
		return NotExposed, "no address family's packets can come this way"
	case len(r.Packets) == 0:
		return NotExposed, "no packet meets all the conditions on the way"
	case r.Position == BeforeLookup || r.Position == AfterConfirm || r.Position == Outside:
		return NotExposed, r.Reason
	case active == No:
		return NotExposed, "conntrack is not active for these packets: " + conntrack.Reason
	case r.Untracked == Yes:
		return NotExposed, "a notrack rule has exempted the packets"
	case len(r.Packets) > 0 && !slices.ContainsFunc(r.Packets, func(s Selection) bool { return !s.only(unix.IPPROTO_TCP) }):
		return NotExposed, "TCP only: a connection has no second packet before the first one's answer"
	case k.has(establishedOnly):
		return NotExposed, "established connections only: their entries are confirmed"
	case k.has(confirmedOnly):
		return NotExposed, "only packets whose entries are confirmed"
	case confirmed:
		return NotExposed, "neither new nor related connections: the entries of others are confirmed, or there is none"
	case r.Position == Undecided:
		return ExposureUnknown, r.Reason
	case active == Unknown:
		return ExposureUnknown, r.Reason + ", if conntrack is active: " + conntrack.Reason
	case r.Untracked == Unknown:
		return Exposed, r.Reason + "; notrack rules may exempt some packets"
	}
	return Exposed, r.Reason
}
