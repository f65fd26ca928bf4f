package exposure

import (
	"slices"
	"strings"

	"verdictd/internal/liverules"
	"verdictd/internal/vocabulary"
)

// commentPrefix begins the comment of each rule of this project's tables.
const commentPrefix = "verdictd: "

// IsGate reports whether a rule takes packets to a gate of this project's programs:
// to be held, or as an announcement.
func IsGate(q liverules.QueueRule) bool {
	return strings.HasPrefix(q.Comment, commentPrefix) && (q.Chain == "gate-queue" || strings.HasPrefix(q.Chain, "announce-"))
}

// A Gate is one that is at work, or several.
type Gate struct {
	// Rules are those that take packets to it.
	Rules   []liverules.QueueRule
	covered coverage
}

// FindGate finds a gate of this project's programs to which packets come and whose
// queues are all bound; nil: there is none.
func FindGate(rules *liverules.Rules, bound func(queue uint16) bool) *Gate {
	g := &Gate{covered: coverage{}}
	for _, q := range rules.Queues {
		if !IsGate(q) || q.Computed || !allBound(q.QueueStatement, bound) {
			continue
		}
		if g.covered.add(q) {
			g.Rules = append(g.Rules, q)
		}
	}
	if len(g.Rules) == 0 {
		return nil
	}
	return g
}

func allBound(q liverules.QueueStatement, bound func(uint16) bool) bool {
	for n := int(q.First); n <= int(q.Last); n++ {
		if !bound(uint16(n)) {
			return false
		}
	}
	return true
}

// Covers reports whether the gate takes all of a queue rule's packets that a gate can
// hold. Without one it covers nothing.
func (g *Gate) Covers(rules *liverules.Rules, s liverules.Site) bool {
	if g == nil || slices.Contains(s.Reach.Families, liverules.Bridge) {
		return false
	}
	wanted := traffic{}
	wanted.addSite(rules, s, []liverules.Family{liverules.IPv4, liverules.IPv6})
	return len(wanted) > 0 && len(g.covered.missing(wanted)) == 0
}

// coverage is what gate rules take, in each of the two hooks.
type coverage map[vocabulary.Hook]traffic

// add notes what a rule takes before conntrack's lookup; false: nothing.
func (c coverage) add(q liverules.QueueRule) (takes bool) {
	for _, r := range q.Reaches {
		if r.Position != liverules.BeforeLookup || r.Hook != vocabulary.HookOutput && r.Hook != vocabulary.HookPrerouting {
			continue
		}
		if c[r.Hook] == nil {
			c[r.Hook] = traffic{}
		}
		c[r.Hook].addPackets(r.Packets, nil)
		takes = true
	}
	return takes
}

// missing is what is not taken in both.
func (c coverage) missing(wanted traffic) traffic {
	left := wanted.without(c[vocabulary.HookOutput])
	left.merge(wanted.without(c[vocabulary.HookPrerouting]))
	return left
}
