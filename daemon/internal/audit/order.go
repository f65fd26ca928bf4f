package audit

import (
	"slices"

	"verdictd/daemon/internal/exposure"
	"verdictd/internal/liverules"
	"verdictd/internal/vocabulary"
)

// Sequence is a queue rule behind another one, before the packets are confirmed:
// when the first one's verdict returns, they are not yet.
type Sequence struct {
	First string `json:"first"`
	Then  string `json:"then"`
	// Hooks are where: the first rule's and the second's.
	Hooks [2]vocabulary.Hook `json:"hooks"`
	// SameHolder says whether one program holds the queues of both.
	SameHolder liverules.Answer `json:"same_holder"`
}

func (m *Machine) sequences() []Sequence {
	list := []Sequence{}
	seen := map[[2]liverules.Place]bool{}
	for _, rule := range m.Rules.Queues {
		if exposure.IsGate(rule) {
			continue
		}
		for _, b := range m.Rules.BehindOurs(numbers(rule.QueueStatement)).Followed {
			if b.Ours.Rule.Place != rule.Place {
				continue
			}
			for _, n := range b.Next {
				pair := [2]liverules.Place{rule.Place, n.Rule.Place}
				if seen[pair] || exposure.IsGate(n.Rule) || n.Reach.Exposure == liverules.NotExposed || b.Ours.Reach.Exposure == liverules.NotExposed {
					continue
				}
				seen[pair] = true
				list = append(list, Sequence{
					First: rule.String(), Then: n.Rule.String(), Hooks: [2]vocabulary.Hook{b.Ours.Reach.Hook, n.Reach.Hook},
					SameHolder: m.sameHolder(rule, n.Rule),
				})
			}
		}
	}
	return list
}

// sameHolder compares who has bound the queues of two rules.
func (m *Machine) sameHolder(a, b liverules.QueueRule) liverules.Answer {
	x, y := m.holdersOf(a.QueueStatement), m.holdersOf(b.QueueStatement)
	switch {
	case len(x) == 0 || len(y) == 0:
		return liverules.Unknown
	case len(x) == 1 && slices.Equal(x, y):
		return liverules.Yes
	case slices.ContainsFunc(x, func(h holder) bool { return slices.Contains(y, h) }):
		return liverules.Unknown
	}
	return liverules.No
}

// holder tells programs apart: by their process, or else by the socket.
type holder struct {
	pid  int
	port uint32
}

// holdersOf lists who has bound the queues, each once.
func (m *Machine) holdersOf(q liverules.QueueStatement) []holder {
	var list []holder
	for _, bound := range m.Queues.Value {
		if q.Computed || bound.Queue < q.First || bound.Queue > q.Last {
			continue
		}
		h := holder{port: bound.PortID}
		if bound.Holder != nil {
			h = holder{pid: bound.Holder.PID}
		}
		if !slices.Contains(list, h) {
			list = append(list, h)
		}
	}
	return list
}

// Translated is a queue rule behind DNAT: packets of one flow that clash there may
// have been given different destinations.
type Translated struct {
	Rule     string          `json:"rule"`
	Hook     vocabulary.Hook `json:"hook"`
	Rewrites []string        `json:"rewrites"`
}

func (m *Machine) translated() []Translated {
	list := []Translated{}
	for s := range m.sites() {
		var rewrites []string
		for _, w := range m.Rules.RewritesBefore(s) {
			rewrites = append(rewrites, w.Kind+": "+w.String())
		}
		if len(rewrites) > 0 {
			list = append(list, Translated{s.Rule.String(), s.Reach.Hook, rewrites})
		}
	}
	return list
}

// numbers lists the queues of a rule; none where they are computed.
func numbers(q liverules.QueueStatement) []uint16 {
	if q.Computed {
		return nil
	}
	list := make([]uint16, 0, int(q.Last)-int(q.First)+1)
	for n := int(q.First); n <= int(q.Last); n++ {
		list = append(list, uint16(n))
	}
	return list
}
