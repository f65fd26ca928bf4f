package exposure

import (
	"fmt"
	"slices"

	"verdictd/internal/liverules"
	"verdictd/internal/nfq"
	"verdictd/internal/ruleset"
	"verdictd/internal/vocabulary"
)

// Rounds counts the places where packets are queued behind a gate. It is not known
// where a program may hand packets over to a queue that no rule names.
func Rounds(rules *liverules.Rules, bound []nfq.KernelQueue) int {
	places := map[string]bool{}
	named := func(queue uint16) bool {
		return slices.ContainsFunc(rules.Queues, func(q liverules.QueueRule) bool {
			return q.Computed || q.First <= queue && queue <= q.Last
		})
	}
	for _, b := range bound {
		if !named(b.Queue) {
			return 0
		}
	}
	for _, q := range rules.Queues {
		for _, r := range q.Reaches {
			if !IsGate(q) && !before(r) {
				places[fmt.Sprint(r.Hook, r.Priority)] = true
			}
		}
	}
	return len(places)
}

// before reports whether packets come this way before they come to a gate.
func before(r liverules.Reach) bool {
	return (r.Hook == vocabulary.HookOutput || r.Hook == vocabulary.HookPrerouting) && r.Priority < ruleset.GatePriority
}

// apart lists queues that stand before the gate, those of other gates, and those
// that take none of the traffic: what this gate lets go either has passed them, or is
// theirs to guard, or never comes there.
func apart(rules *liverules.Rules, traffic []ruleset.Traffic) map[uint16]bool {
	list := map[uint16]bool{}
	translated := len(rules.Rewrites) > 0 // packets may have other ports there
	for _, q := range rules.Queues {
		if q.Computed {
			continue
		}
		aside := IsGate(q) || len(q.Reaches) > 0 && !slices.ContainsFunc(q.Reaches, func(r liverules.Reach) bool {
			return !before(r) && (translated || takes(r, traffic))
		})
		for n := int(q.First); n <= int(q.Last); n++ {
			was, known := list[uint16(n)]
			list[uint16(n)] = aside && (was || !known)
		}
	}
	return list
}

// takes reports whether packets of the traffic may come this way.
func takes(r liverules.Reach, traffic []ruleset.Traffic) bool {
	return len(r.Packets) == 0 || slices.ContainsFunc(r.Packets, func(s liverules.Selection) bool {
		return slices.ContainsFunc(traffic, func(t ruleset.Traffic) bool { return overlap(s, t) })
	})
}

// overlap reports whether a selection takes packets of the traffic. Ports of both are
// those of either end: a flow from one of the selection's to one of the traffic's
// would be missed, and is not expected.
func overlap(s liverules.Selection, t ruleset.Traffic) bool {
	common := func(p liverules.Protocol) bool { return slices.Contains(t.Protocols, uint8(p)) }
	if len(s.Protocols) > 0 && !slices.ContainsFunc(s.Protocols, common) {
		return false
	}
	if len(s.Ports) == 0 || len(t.Ports) == 0 {
		return true
	}
	return slices.ContainsFunc(s.Ports, func(a vocabulary.PortRange) bool {
		return slices.ContainsFunc(t.Ports, func(b vocabulary.PortRange) bool { return a.First <= b.Last && b.First <= a.Last })
	})
}
