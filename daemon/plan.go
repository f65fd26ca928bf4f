package main

import (
	"context"
	"fmt"
	"slices"

	"verdictd/daemon/internal/exposure"
	"verdictd/daemon/internal/holders"
	"verdictd/internal/config"
	"verdictd/internal/liverules"
	"verdictd/internal/nfq"
	"verdictd/internal/ruleset"
	"verdictd/internal/vocabulary"
)

// gatePlan is what has to pass the gate, as the rules are now, and what the gate
// has to know of other queues.
type gatePlan struct {
	*exposure.Plan
	traffic []ruleset.Traffic // what the gate's own rules select
	why     string
	// rounds is how many queues a packet may meet behind the gate, one after the
	// other; 0: not known.
	rounds int
	// templates is the zone of packets with a conntrack template, nil where it may be
	// one of several.
	templates *uint16
	// incomplete: not all rules could be read.
	incomplete bool
	// apart are the queues to which no packet comes that has passed the gate.
	apart map[uint16]bool
}

func (p *gatePlan) active() bool { return p.Plan != nil && len(p.Traffic) > 0 }

// same reports whether both ask for the same rules and the same gate.
func (p *gatePlan) same(other *gatePlan) bool {
	return p.Plan != nil && other.Plan != nil && p.Same(other.Plan) && p.why == other.why && sameZone(p.templates, other.templates)
}

// plan makes one from the machine's rules.
func (k *keeper) plan(ctx context.Context) gatePlan {
	if k.gate != nil {
		// Each listing changes the rules, which are read as they are at one time.
		k.gate.PauseListing(true)
		defer k.gate.PauseListing(false)
	}
	rules, _ := liverules.Read(k.table) // usable whatever could not be read, which it lists
	p := gatePlan{Plan: exposure.Make(rules, exposure.Options{
		Queues: k.queues, Table: k.table, Gate: k.numbers(), Insist: k.guard.Mode != vocabulary.GuardAuto,
	})}
	bound, err := nfq.ReadKernelQueues()
	if err == nil {
		p.rounds = rounds(rules, bound)
	}
	p.incomplete = len(rules.Unread) > 0
	p.apart, p.templates = apart(rules, p.Traffic), templateZone(rules.Zones)
	selected := p.Traffic
	if p.Installed {
		selected = p.Missing
	}
	for _, t := range selected {
		own := ruleset.Traffic{IPv4: t.IPv4, IPv6: t.IPv6, Protocols: t.Protocols}
		for _, r := range t.Ports {
			own.Ports = append(own.Ports, vocabulary.Ports(r.First, r.Last))
		}
		p.traffic = append(p.traffic, own)
	}
	if p.active() {
		if by, err := holders.Queues(ctx); err == nil {
			p.Name(by)
		}
	}
	p.why = p.reason()
	return p
}

// templateZone is the zone of every packet with a template, as far as the rules
// tell: that which they set, or 0 where they set none. Rules that set a timeout
// policy or a helper beside one for a zone are not thought of.
func templateZone(zones []liverules.Zone) *uint16 {
	zone := uint16(0)
	for i, z := range zones {
		if z.Computed || z.Direction != "" || i > 0 && z.ID != zone {
			return nil
		}
		zone = z.ID
	}
	return &zone
}

func sameZone(a, b *uint16) bool { return a == b || a != nil && b != nil && *a == *b }

// ownTraffic is what the configuration's rules queue, as far as it can clash.
func ownTraffic(cfg *config.Config) (t ruleset.Traffic, clashes bool) {
	switch cfg.Rules.Placement {
	case vocabulary.PlacementNone, vocabulary.PlacementPreConntrack, vocabulary.PlacementNotrack:
		return t, false
	}
	t.IPv4 = slices.Contains(cfg.Rules.Families, vocabulary.IPv4)
	t.IPv6 = slices.Contains(cfg.Rules.Families, vocabulary.IPv6)
	for _, protocol := range vocabulary.Numbers(cfg.Rules.Protocols) {
		if slices.Contains(vocabulary.GateProtocols(), protocol) {
			t.Protocols = append(t.Protocols, protocol)
		}
	}
	for _, port := range slices.Concat(cfg.Rules.DestinationPorts, cfg.Rules.SourcePorts) {
		t.Ports = append(t.Ports, vocabulary.Ports(port, port))
	}
	return t, len(t.Protocols) > 0
}

// planOwn plans for the daemon's own rules before they queue anything.
func (k *keeper) planOwn() gatePlan {
	rules, _ := liverules.Read(k.table)
	t, clashes := k.own()
	tracked := func(a liverules.Answer) bool {
		return a == liverules.Yes || a == liverules.Unknown && k.guard.Mode != vocabulary.GuardAuto
	}
	if !clashes || !tracked(rules.Conntrack.IPv4) && !tracked(rules.Conntrack.IPv6) {
		return gatePlan{}
	}
	own := exposure.Traffic{IPv4: t.IPv4, IPv6: t.IPv6, Protocols: t.Protocols}
	for _, r := range t.Ports {
		own.Ports = append(own.Ports, vocabulary.Ports(r.First, r.Last))
	}
	plan := &exposure.Plan{Conntrack: rules.Conntrack, Traffic: []exposure.Traffic{own}}
	for _, z := range rules.Zones {
		if z.ID != 0 && !z.Computed && !slices.Contains(plan.Zones, z.ID) {
			plan.Zones = append(plan.Zones, z.ID)
		}
	}
	slices.Sort(plan.Zones)
	return gatePlan{
		Plan: plan, traffic: []ruleset.Traffic{t}, templates: templateZone(rules.Zones), apart: apart(rules, plan.Traffic),
		why: "the daemon's own rules queue packets that may be unconfirmed",
	}
}

// reason is why there is something to guard, or nothing.
func (p *gatePlan) reason() string {
	switch {
	case p.active():
		return p.Exposing[0].String()
	case len(p.Exposing) > 0:
		return "the gate has nothing to do for " + p.Exposing[0].String()
	case p.Conntrack.IPv4 == liverules.No && p.Conntrack.IPv6 == liverules.No:
		return "conntrack is not active: " + p.Conntrack.Reason
	}
	return "no live rule queues packets of these queues that may be unconfirmed"
}

// numbers are the gate's queues, for as many zones as there may be.
func (k *keeper) numbers() []exposure.QueueRange {
	const zones = 16
	threads := k.guard.Queues
	if threads == 0 {
		threads = max(1, min(len(allowedCPUs()), config.MaxGateQueues)) // what threadsFor may come to
	}
	last := min(int(k.guard.FirstQueue)+2*zones*threads-1, 1<<16-1)
	return []exposure.QueueRange{{First: k.guard.FirstQueue, Last: uint16(last)}}
}

// lookupPriority is where conntrack looks packets up, and gatePriority where gates
// wait before it.
const gatePriority = -250

// rounds counts the places where packets are queued behind a gate. It is not known
// where a program may hand packets over to a queue that no rule names.
func rounds(rules *liverules.Rules, bound []nfq.KernelQueue) int {
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
			if !exposure.IsGate(q) && !before(r) {
				places[fmt.Sprint(r.Hook, r.Priority)] = true
			}
		}
	}
	return len(places)
}

// before reports whether packets come this way before they come to a gate.
func before(r liverules.Reach) bool {
	return (r.Hook == vocabulary.HookOutput || r.Hook == vocabulary.HookPrerouting) && r.Priority < gatePriority
}

// apart lists queues that stand before the gate, those of other gates, and those
// that take none of the traffic: what this gate lets go either has passed them, or is
// theirs to guard, or never comes there.
func apart(rules *liverules.Rules, traffic []exposure.Traffic) map[uint16]bool {
	list := map[uint16]bool{}
	translated := len(rules.Rewrites) > 0 // packets may have other ports there
	for _, q := range rules.Queues {
		if q.Computed {
			continue
		}
		aside := exposure.IsGate(q) || len(q.Reaches) > 0 && !slices.ContainsFunc(q.Reaches, func(r liverules.Reach) bool {
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
func takes(r liverules.Reach, traffic []exposure.Traffic) bool {
	return len(r.Packets) == 0 || slices.ContainsFunc(r.Packets, func(s liverules.Selection) bool {
		return slices.ContainsFunc(traffic, func(t exposure.Traffic) bool { return overlap(s, t) })
	})
}

// overlap reports whether a selection takes packets of the traffic. Ports of both are
// those of either end: a flow from one of the selection's to one of the traffic's
// would be missed, and is not expected.
func overlap(s liverules.Selection, t exposure.Traffic) bool {
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
