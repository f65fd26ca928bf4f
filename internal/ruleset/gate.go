package ruleset

import (
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/vocabulary"
)

// Gate is what the gate's chains select. The gate is a second set of queues, in
// OUTPUT and PREROUTING before conntrack's lookup.
//
// With C queues and Z zones (zone 0 first), packets of zone z arrive in the queues
// FirstQueue+z*C to FirstQueue+z*C+C-1, and announcements Z*C above those.
type Gate struct {
	FirstQueue, Queues uint16

	// Zones are the ids of the conntrack zones served besides 0. Packets of others
	// pass by, counted.
	Zones []uint16

	// TemplateZone is the zone of packets with a template, where the kernel hides it:
	// since 2026 rules cannot read what a template says. It is 0, for templates that
	// set a timeout policy or a helper, or one of Zones; nil if it may be several:
	// these packets then pass by, counted. 0 without Zones says that no rule sets a
	// zone, which saves a look at each packet.
	TemplateZone *uint16

	// Traffic is what enters, whatever matches one of them. Without any the chains
	// stay empty, and no expression of them keeps connection tracking active.
	Traffic []Traffic

	// Settled has packets of listed flows pass in the kernel. A flow takes two
	// elements of its family's set, which lose SettledTimeout after the last packet.
	Settled        bool
	SettledSize    uint32
	SettledTimeout time.Duration

	// Packets with one of these ports, at either end, never enter.
	ExemptPorts []uint16
}

// zones counts the zones served.
func (g *Gate) zones() int { return 1 + len(g.Zones) }

// unzoned tells that all packets are of zone 0.
func (g *Gate) unzoned() bool {
	return len(g.Zones) == 0 && g.TemplateZone != nil && *g.TemplateZone == 0
}

// last is the highest number of the gate's queues.
func (g *Gate) last() int { return int(g.FirstQueue) + 2*g.zones()*int(g.Queues) - 1 }

// arrivals are the queues of a zone's packets, by its index; announcements those
// of its listed flows that have lost their entries.
func (g *Gate) arrivals(zone int) queueRange {
	return queueRange{first: g.FirstQueue + uint16(zone)*g.Queues, total: g.Queues, bypass: true}
}

func (g *Gate) announcements(zone int) queueRange { return g.arrivals(g.zones() + zone) }

// active tells whether there is anything to select.
func (g *Gate) active() bool { return len(g.Traffic) > 0 }

// protocols are all that are selected.
func (g *Gate) protocols() []uint8 {
	var all []uint8
	for _, t := range g.Traffic {
		all = append(all, t.Protocols...)
	}
	return distinct(all)
}

// listable tells whether flows of a family may come into its settled set: those
// of UDP. Others are too few to be worth a protocol in each key.
func (g *Gate) listable(f *ipFamily) bool {
	return slices.ContainsFunc(g.Traffic, func(t Traffic) bool {
		return t.in(f) && slices.Contains(t.Protocols, unix.IPPROTO_UDP)
	})
}

// problems finds what is wrong with a gate.
func (g *Gate) problems() (problems []error) {
	problem := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("gate: "+format, args...))
	}
	if g.Queues == 0 {
		problem("no queues: use at least 1")
	}
	if last := g.last(); last > vocabulary.MaxQueue {
		problem("queues %d to %d for %d zones: the last queue number is %d", g.FirstQueue, last, g.zones(), vocabulary.MaxQueue)
	}
	if slices.Contains(g.Zones, 0) || len(distinct(g.Zones)) != len(g.Zones) {
		problem("zones %v: name each once, and not 0, which is always served", g.Zones)
	}
	if z := g.TemplateZone; z != nil && *z != 0 && !slices.Contains(g.Zones, *z) {
		problem("templates of zone %d, which is not served: add it to the zones %v", *z, g.Zones)
	}
	if g.Settled && (g.SettledSize < 2 || g.SettledTimeout < time.Millisecond) {
		problem("settled set of %d elements for %v: a flow takes 2, and a timeout is 1ms or more", g.SettledSize, g.SettledTimeout)
	}
	if slices.Contains(g.ExemptPorts, 0) {
		problem("exempt port 0: ports are from 1 to 65535")
	}
	for i := range g.Traffic {
		for _, text := range g.Traffic[i].problems() {
			problem("traffic %d%s", i, text)
		}
	}
	return problems
}
