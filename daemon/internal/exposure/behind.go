package exposure

import (
	"fmt"
	"slices"

	"verdictd/internal/liverules"
	"verdictd/internal/nfq"
	"verdictd/internal/ruleset"
	"verdictd/internal/vocabulary"
)

// Rounds is how many queues a packet may meet behind a gate, one after the other: those
// of base chains that it passes, and those of further rules of one chain, as a program
// may have it go through that once more (NF_REPEAT). It is 0, not known, where a program
// may hand packets over to a queue that no rule names.
func Rounds(rules *liverules.Rules, bound []nfq.KernelQueue) (most int) {
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
	translated := len(rules.Rewrites)+len(rules.SourceNAT)+len(rules.Mangling) > 0 // a packet's ports are not the same everywhere
	stops := stopsBehind(rules)
	for _, a := range stops {
		met := map[string]bool{}
		for _, b := range stops {
			if meet(a.packets, b.packets, translated) {
				met[b.place] = true
			}
		}
		most = max(most, len(met))
	}
	return most
}

// A stop is a way to a queue; several of one place queue a packet once.
type stop struct {
	place   string
	packets []liverules.Selection
}

// stopsBehind are those behind a gate.
func stopsBehind(rules *liverules.Rules) (list []stop) {
	for _, q := range rules.Queues {
		for _, r := range q.Reaches {
			if IsGate(q) || before(r) {
				continue
			}
			base := q.Chain
			if len(r.Chains) > 0 {
				base = r.Chains[0]
			}
			place := fmt.Sprint(r.Hook, r.Priority, q.Source, q.Table, base, q.First, q.Last)
			list = append(list, stop{place, r.Packets})
		}
	}
	return list
}

// meet reports whether a packet may be in both; no selections are all packets.
func meet(a, b []liverules.Selection, translated bool) bool {
	return len(a) == 0 || len(b) == 0 || slices.ContainsFunc(a, func(s liverules.Selection) bool {
		return slices.ContainsFunc(b, func(t liverules.Selection) bool {
			return slices.ContainsFunc(s.Families, func(f liverules.Family) bool { return slices.Contains(t.Families, f) }) &&
				sameProtocol(s, t) && (translated || samePort(s.Ports, t.Ports))
		})
	})
}

// sameProtocol reports whether both take packets of one protocol.
func sameProtocol(a, b liverules.Selection) bool {
	if len(a.Protocols) == 0 {
		return len(b.Protocols) == 0 || slices.ContainsFunc(b.Protocols, a.Takes)
	}
	return slices.ContainsFunc(a.Protocols, b.Takes)
}

// before reports whether packets come this way before they come to a gate.
func before(r liverules.Reach) bool {
	return (r.Hook == vocabulary.HookOutput || r.Hook == vocabulary.HookPrerouting) && r.Priority < ruleset.GatePriority
}

// apart lists queues that stand before the gate, those of other gates, and those
// that take none of the traffic: what this gate lets go either has passed them, or is
// theirs to guard, or never comes there, unless it is handed on.
func apart(rules *liverules.Rules, traffic []ruleset.Traffic, handsOn []uint16) map[uint16]bool {
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
	for _, n := range handsOn {
		delete(list, n)
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
	return samePort(s.Ports, t.Ports)
}

// samePort reports whether both have a port; none are all.
func samePort(a, b []vocabulary.PortRange) bool {
	return len(a) == 0 || len(b) == 0 || slices.ContainsFunc(a, func(a vocabulary.PortRange) bool {
		return slices.ContainsFunc(b, func(b vocabulary.PortRange) bool { return a.First <= b.Last && b.First <= a.Last })
	})
}
