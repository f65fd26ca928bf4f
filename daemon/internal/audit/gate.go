package audit

import (
	"fmt"
	"slices"

	"verdictd/daemon/internal/exposure"
	"verdictd/internal/liverules"
)

// Gate is a gate's rule at work: it is reached, and its queues are bound.
type Gate struct {
	Rule    string   `json:"rule"`
	Holders []string `json:"holders"`
}

// String is the rule's place and who is behind it.
func (g Gate) String() string {
	return fmt.Sprintf("%s, held by %s", g.Rule, joined(g.Holders))
}

// findGates looks for gates. Where the queues could not be read, none counts.
func (m *Machine) findGates() {
	m.gate, m.Gates = exposure.FindGate(m.Rules, m.bound), nil
	if m.gate == nil {
		return
	}
	for _, q := range m.gate.Rules {
		g := Gate{Rule: q.Place.String(), Holders: []string{}}
		for _, b := range m.Queues.Value {
			if name := b.Holder.String(); q.First <= b.Queue && b.Queue <= q.Last && !slices.Contains(g.Holders, name) {
				g.Holders = append(g.Holders, name)
			}
		}
		m.Gates = append(m.Gates, g)
	}
}

// bound: somebody listens on the queue.
func (m *Machine) bound(queue uint16) bool {
	return slices.ContainsFunc(m.Queues.Value, func(q BoundQueue) bool { return q.Queue == queue })
}

// behindGate: a gate holds the further packets of the site's new flows.
func (m *Machine) behindGate(s liverules.Site) bool { return m.gate.Covers(m.Rules, s) }

// gatedSites are the ways to queue rules that would let packets clash without a gate.
func (m *Machine) gatedSites() (sites []liverules.Site) {
	for _, rule := range m.Rules.Queues {
		if exposure.IsGate(rule) {
			continue
		}
		for _, reach := range rule.Reaches {
			if s := (liverules.Site{Rule: rule, Reach: reach}); reach.Exposure != liverules.NotExposed && m.behindGate(s) {
				sites = append(sites, s)
			}
		}
	}
	return sites
}
