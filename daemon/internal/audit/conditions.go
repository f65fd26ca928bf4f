package audit

import (
	"iter"
	"slices"

	"verdictd/daemon/internal/exposure"
	"verdictd/internal/kernelfacts"
	"verdictd/internal/liverules"
	"verdictd/internal/vocabulary"
)

// condition says whether the machine's rules give a fault its occasion.
type condition struct {
	name  string // as in docs/audit.md
	holds func(*Machine) liverules.Answer
}

// The conditions of the table.
var (
	// clash: packets of one new flow wait unconfirmed.
	clash = condition{"an exposed rule", func(m *Machine) liverules.Answer { return m.clash() }}
	// queued: any packet can wait for a verdict.
	queued = condition{"any queue rule", func(m *Machine) liverules.Answer { return m.queued() }}
	// translated: the packets of an exposed rule may have got another destination.
	translated = condition{"an exposed rule behind DNAT", func(m *Machine) liverules.Answer {
		return m.someSite(func(s liverules.Site) liverules.Answer { return yes(m.translatedAt(s)) })
	}}
	// misrouted: the same behind the routing decision.
	misrouted = condition{"an exposed rule in forward or postrouting behind DNAT", func(m *Machine) liverules.Answer {
		return m.someSite(func(s liverules.Site) liverules.Answer {
			return yes((s.Reach.Hook == vocabulary.HookForward || s.Reach.Hook == vocabulary.HookPostrouting) && m.translatedAt(s))
		})
	}}
	// bridged: the packets of an exposed rule may have been cloned by a bridge.
	bridged = condition{"an exposed rule that sees bridged packets", func(m *Machine) liverules.Answer { return m.someSite(m.bridgedAt) }}
	// queuedBridged: bridged packets can wait for a verdict.
	queuedBridged = condition{"any queue rule that sees bridged packets", func(m *Machine) liverules.Answer { return m.someQueue(m.bridgedAt) }}
	// queuedLocally: packets of local sockets can wait for a verdict.
	queuedLocally = condition{"a queue rule in output or postrouting", func(m *Machine) liverules.Answer {
		return m.someQueue(func(s liverules.Site) liverules.Answer {
			return yes(s.Reach.Hook == vocabulary.HookOutput || s.Reach.Hook == vocabulary.HookPostrouting)
		})
	}}
	// templated: packets that wait may carry what a rule of xt_CT or nft_ct gave them.
	templated = condition{"any queue rule, and a rule that sets a conntrack zone", func(m *Machine) liverules.Answer {
		if len(m.Rules.Zones) == 0 && m.complete() {
			return liverules.No
		}
		return m.queued()
	}}
	// weak: the processor reorders what conntrack reads.
	weak = condition{"an exposed rule on a processor that orders memory weakly", func(m *Machine) liverules.Answer {
		if m.stronglyOrdered() {
			return liverules.No
		}
		return m.clash()
	}}
)

// takes: an exposed rule takes packets of these protocols.
func takes(name string, protocols ...liverules.Protocol) condition {
	return condition{"an exposed rule that takes " + name, func(m *Machine) liverules.Answer {
		return m.someSite(func(s liverules.Site) liverules.Answer { return takenAt(s, protocols) })
	}}
}

// queues: packets of these protocols can wait for a verdict.
func queues(name string, protocols ...liverules.Protocol) condition {
	return condition{"any queue rule that takes " + name, func(m *Machine) liverules.Answer {
		return m.someQueue(func(s liverules.Site) liverules.Answer { return takenAt(s, protocols) })
	}}
}

// takenAt: a rule takes packets of one of the protocols.
func takenAt(s liverules.Site, protocols []liverules.Protocol) liverules.Answer {
	return yes(slices.ContainsFunc(s.Reach.Packets, func(packets liverules.Selection) bool {
		return slices.ContainsFunc(protocols, packets.Takes)
	}))
}

// stronglyOrdered: the processors that this program was built for keep the order of
// their reads.
func (m *Machine) stronglyOrdered() bool {
	return slices.Contains([]string{"386", "amd64", "s390x"}, m.Architecture)
}

func yes(b bool) liverules.Answer {
	if b {
		return liverules.Yes
	}
	return liverules.No
}

// sites yields the ways to queue rules on which packets may clash, those of the
// guarded queues and those behind a gate left out.
func (m *Machine) sites() iter.Seq[liverules.Site] {
	return func(yield func(liverules.Site) bool) {
		for _, rule := range m.Rules.Queues {
			if m.isGuarded(rule.QueueStatement) || exposure.IsGate(rule) {
				continue
			}
			for _, reach := range rule.Reaches {
				s := liverules.Site{Rule: rule, Reach: reach}
				if reach.Exposure != liverules.NotExposed && !m.behindGate(s) && !yield(s) {
					return
				}
			}
		}
	}
}

// hasSites: some rule is exposed, or may be.
func (m *Machine) hasSites() bool {
	for range m.sites() {
		return true
	}
	return false
}

// isGuarded: all queues of the rule are the caller's.
func (m *Machine) isGuarded(q liverules.QueueStatement) bool {
	if q.Computed || len(m.guarded) == 0 {
		return false
	}
	for n := int(q.First); n <= int(q.Last); n++ {
		if !slices.Contains(m.guarded, uint16(n)) {
			return false
		}
	}
	return true
}

// complete: there are no other rules.
func (m *Machine) complete() bool { return len(m.Rules.Unread) == 0 }

// impossible: whatever the rules are, nothing can wait in a queue.
func (m *Machine) impossible() bool { return m.module("nfnetlink_queue") == kernelfacts.ModuleAbsent }

func (m *Machine) clash() liverules.Answer {
	return m.someSite(func(liverules.Site) liverules.Answer { return liverules.Yes })
}

// someSite says whether something holds at a place where packets clash.
func (m *Machine) someSite(holds func(liverules.Site) liverules.Answer) liverules.Answer {
	c := m.Rules.Conntrack
	if m.impossible() || c.IPv4 == liverules.No && c.IPv6 == liverules.No && c.Bridge == liverules.No {
		return liverules.No
	}
	answer := liverules.No
	if !m.complete() {
		answer = liverules.Unknown
	}
	for s := range m.sites() {
		switch at := holds(s); {
		case at == liverules.No:
		case at == liverules.Yes && s.Reach.Exposure == liverules.Exposed:
			return liverules.Yes
		default:
			answer = liverules.Unknown
		}
	}
	return answer
}

func (m *Machine) queued() liverules.Answer {
	return m.someQueue(func(liverules.Site) liverules.Answer { return liverules.Yes })
}

// someQueue says whether something holds at a place where packets wait, whether they
// clash there or not.
func (m *Machine) someQueue(holds func(liverules.Site) liverules.Answer) liverules.Answer {
	if m.impossible() {
		return liverules.No
	}
	answer := liverules.No
	if !m.complete() {
		answer = liverules.Unknown
	}
	for _, q := range m.Rules.Queues {
		for _, reach := range q.Reaches {
			switch holds(liverules.Site{Rule: q, Reach: reach}) {
			case liverules.Yes:
				return liverules.Yes
			case liverules.Unknown:
				answer = liverules.Unknown
			}
		}
	}
	return answer
}

// translatedAt: a DNAT rule before the site. tproxy rewrites no packet.
func (m *Machine) translatedAt(s liverules.Site) bool {
	return slices.ContainsFunc(m.Rules.RewritesBefore(s), func(w liverules.Rewrite) bool { return w.Kind != "tproxy" })
}

// bridgedAt: a bridge floods clones, which come to its own hooks and, through
// br_netfilter, to those of IP that a forwarded packet runs through.
func (m *Machine) bridgedAt(s liverules.Site) liverules.Answer {
	ip := []vocabulary.Hook{vocabulary.HookPrerouting, vocabulary.HookForward, vocabulary.HookPostrouting}
	switch {
	case slices.Contains(s.Reach.Families, liverules.Bridge):
		return liverules.Yes
	case !slices.Contains(ip, s.Reach.Hook):
		return liverules.No
	case m.Bridging.Err != nil:
		return liverules.Unknown
	}
	return yes(m.Bridging.Value.CallsIP && len(m.Bridging.Value.Bridges) > 0)
}
