package ruleset

import (
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"verdictd/internal/vocabulary"
)

// Names of the gate's chains.
const (
	gateOutput        = "gate-output"
	gatePrerouting    = "gate-prerouting"
	settledOutput     = "settled-output"
	settledPrerouting = "settled-prerouting"

	gateTracked        = "gate-tracked"
	gateSelect         = "gate-select"
	gateQueue          = "gate-queue"
	settledUnconfirmed = "settled-unconfirmed"
	refreshPrefix      = "refresh-"
	announcePrefix     = "announce-"
)

// GatePriority is where packets come to the gate.
const GatePriority = -250

// Where the gate's base chains are: behind raw and defragmentation and before
// conntrack's lookup at -200, and right behind it, before any NAT.
const (
	beforeLookup nftables.ChainPriority = GatePriority
	behindLookup nftables.ChainPriority = -199
)

// refreshOneIn: one in so many packets of listed flows gives its element a new life.
// A flow that is never quiet, and so could not be listed a second time, has hundreds
// in half the shortest of timeouts; others come to the gate again, which costs them
// one look. The packets are counted, as a random number costs three times as much;
// a prime, so that flows taking turns come to be the one.
const refreshOneIn = 31

// gateParts is what of a gate the kernel can do.
type gateParts struct {
	settled, zones bool
}

// addGate makes the gate's chains. They are always the same ones, so that those
// for one configuration can be refilled for another.
func (t *table) addGate(c Config, kind Kind, can gateParts) {
	g := c.Gate
	output := chain{name: gateOutput, hook: &hook{at: vocabulary.HookOutput, priority: beforeLookup}}
	prerouting := chain{name: gatePrerouting, hook: &hook{at: vocabulary.HookPrerouting, priority: beforeLookup}}
	behind := []chain{
		{name: settledOutput, hook: &hook{at: vocabulary.HookOutput, priority: behindLookup}},
		{name: settledPrerouting, hook: &hook{at: vocabulary.HookPrerouting, priority: behindLookup}},
	}
	tracked, pick, queue := chain{name: gateTracked}, chain{name: gateSelect}, chain{name: gateQueue}
	unconfirmed := chain{name: settledUnconfirmed}
	settled := t.settledSets(g, can)
	var refresh, announce []chain
	for _, f := range families {
		refresh = append(refresh, chain{name: refreshPrefix + f.name})
		announce = append(announce, chain{name: announcePrefix + f.name})
	}

	if g.active() {
		t.addEntrance(c, settled, &output, nil)
		t.addEntrance(c, settled, &prerouting, fromLoopback())
		t.addTracked(g, can, &tracked)
		t.addGateSelection(g, &pick)
		if len(settled) > 0 {
			for i := range behind {
				behind[i].add("no entry yet", append(entryStatus(expr.CmpOpEq, statusConfirmed), verdict(expr.VerdictGoto, settledUnconfirmed))...)
			}
			if can.zones {
				unconfirmed.add("of another zone", append(zone(expr.CmpOpNeq, 0), accept())...)
			}
		}
		for _, l := range settled {
			i := slices.Index(families, l.family)
			unconfirmed.add("listed, its entry lost", slices.Concat(isUDP(l.family), l.family.load(),
				[]expr.Any{lookup(l.set, false), verdict(expr.VerdictGoto, announce[i].name)})...)
			refresh[i].add("live on", slices.Concat(everyNth(refreshOneIn), l.family.load(), []expr.Any{update(l.set, g.SettledTimeout)})...)
			announce[i].add("strike off", append(l.family.load(), remove(l.set))...)
			announce[i].add("strike off its other direction", append(l.family.loadReverse(), remove(l.set))...)
			announce[i].add("announce", &expr.Counter{}, queueStatement(kind, g.announcements(0)))
		}
	}
	t.addGateQueues(g, kind, can, &queue)
	t.chains = slices.Concat(t.chains, []chain{output, prerouting}, behind, []chain{tracked, pick, queue, unconfirmed}, refresh, announce)
}

// A listing is a family's settled set.
type listing struct {
	family *ipFamily
	set    *nftables.Set
}

// settledSets makes the sets, both of them, and returns those in use.
func (t *table) settledSets(g *Gate, can gateParts) (used []listing) {
	if !g.Settled || !can.settled {
		return nil
	}
	for _, f := range families {
		s := t.addSet(f.settledName(), f.keyType(), nil)
		s.Concatenation, s.Dynamic, s.HasTimeout = true, true, true
		s.Size, s.Timeout = g.SettledSize, g.SettledTimeout
		if g.listable(f) {
			used = append(used, listing{f, s})
		}
	}
	return used
}

// addEntrance makes what most packets meet, in the order of their number. passed
// matches those that went through the gate before.
func (t *table) addEntrance(c Config, settled []listing, base *chain, passed []expr.Any) {
	g := c.Gate
	all := g.protocols()
	base.add("let other protocols pass", append(t.protocolIs(all, true), accept())...)
	if passed != nil {
		base.add("passed the gate on its way out", append(passed, accept())...)
	}
	tracked := func() {
		base.add("has an entry, a zone or no tracking", append(comesTracked(), verdict(expr.VerdictJump, gateTracked))...)
	}
	if !g.unzoned() {
		tracked() // first: the sets' keys have no zone
	}
	for _, l := range settled {
		match := isFamily(l.family.number)
		if len(all) > 1 {
			match = isUDP(l.family)
		}
		base.add("settled", slices.Concat(match, l.family.load(),
			[]expr.Any{lookup(l.set, false), verdict(expr.VerdictGoto, refreshPrefix+l.family.name)})...)
	}
	if g.unzoned() {
		tracked()
	}
	t.addGateListed(c.Verdicts, base)
	base.add("select", verdict(expr.VerdictGoto, gateSelect))
}

// addTracked makes what packets meet that come with something of conntrack's: the
// entry that they had when they were sent through loopback, a template with a zone
// or a timeout policy, or the order not to be tracked.
func (t *table) addTracked(g *Gate, can gateParts, tracked *chain) {
	tracked.add("has its entry", append(entryStatus(expr.CmpOpEq, statusTemplate), accept())...)
	tracked.add("not tracked", append(stateIs(stateUntracked), accept())...)
	if can.zones {
		tracked.add("no zone", append(zone(expr.CmpOpEq, 0), verdict(expr.VerdictReturn, ""))...)
		for _, z := range g.Zones {
			tracked.add("select", append(zone(expr.CmpOpEq, z), verdict(expr.VerdictGoto, gateSelect))...)
		}
		tracked.add("of a zone that is not served", append(zone(expr.CmpOpNeq, 0), &expr.Counter{}, accept())...)
	}
	switch z := g.TemplateZone; {
	case z == nil:
		tracked.add("of a zone that the kernel hides", &expr.Counter{}, accept())
	case *z != 0:
		tracked.add("select", verdict(expr.VerdictGoto, gateSelect))
	}
}

// addGateQueues makes the queue statements, by zone.
func (t *table) addGateQueues(g *Gate, kind Kind, can gateParts, queue *chain) {
	const comment = "hold until confirmed"
	add := func(index int, match ...expr.Any) {
		queue.add(comment, append(match, &expr.Counter{}, queueStatement(kind, g.arrivals(index)))...)
	}
	if g.active() && can.zones {
		for i, z := range g.Zones {
			add(1+i, zone(expr.CmpOpEq, z)...)
		}
		if z := g.TemplateZone; z != nil && *z != 0 {
			add(0, zone(expr.CmpOpEq, 0)...)
			add(1+slices.Index(g.Zones, *z), comesTracked()...)
		}
	}
	// This rule stays while the chains before it are empty: by its comment the table
	// is known for ours.
	add(0)
}

// addGateSelection makes the rules for what enters.
func (t *table) addGateSelection(g *Gate, pick *chain) {
	enter := verdict(expr.VerdictGoto, gateQueue)
	withPorts := intersection(g.protocols(), vocabulary.PortProtocols())
	if len(g.ExemptPorts) > 0 && len(withPorts) > 0 {
		var exempt []vocabulary.PortRange
		for _, p := range g.ExemptPorts {
			exempt = append(exempt, vocabulary.Ports(p, p))
		}
		t.addPorts(pick, "exempt", nil, withPorts, exempt, &expr.Counter{}, accept())
	}
	for _, traffic := range g.Traffic {
		family := t.onlyFamily(traffic)
		if list := intersection(traffic.Protocols, vocabulary.PortProtocols()); len(list) > 0 {
			if len(traffic.Ports) > 0 {
				t.addPorts(pick, "enter", family, list, traffic.Ports, enter)
			} else {
				pick.add("enter", slices.Concat(family, t.protocolIs(list, false), []expr.Any{enter})...)
			}
		}
		if len(traffic.Ports) > 0 {
			continue
		}
		if slices.Contains(traffic.Protocols, unix.IPPROTO_GRE) {
			pick.add("enter", slices.Concat(family, t.protocolIs([]uint8{unix.IPPROTO_GRE}, false), []expr.Any{enter})...)
		}
		for _, q := range []struct {
			family   *ipFamily
			protocol uint8
			types    []uint8
		}{
			{ipv4, unix.IPPROTO_ICMP, vocabulary.Queries(unix.IPPROTO_ICMP)},
			{ipv6, unix.IPPROTO_ICMPV6, vocabulary.Queries(unix.IPPROTO_ICMPV6)},
		} {
			if slices.Contains(traffic.Protocols, q.protocol) && traffic.in(q.family) {
				pick.add("enter: queries", append(t.messageIs(q.family, q.protocol, q.types), enter)...)
			}
		}
	}
}

// addPorts makes a rule for the ports of each end.
func (t *table) addPorts(to *chain, comment string, family []expr.Any, list []uint8, ranges []vocabulary.PortRange, then ...expr.Any) {
	s := t.addPortSet(ranges)
	for _, offset := range []uint32{destinationPort, sourcePort} {
		to.add(comment, slices.Concat(family, t.protocolIs(list, false), portIn(s, offset), then)...)
	}
}

// onlyFamily matches the family where traffic has one only.
func (t *table) onlyFamily(traffic Traffic) []expr.Any {
	for _, f := range families {
		if other := families[1-slices.Index(families, f)]; traffic.in(f) && !traffic.in(other) {
			return isFamily(f.number)
		}
	}
	return nil
}

// protocolIs matches packets of one of the protocols, or of none.
func (t *table) protocolIs(list []uint8, invert bool) []expr.Any {
	if len(list) == 1 {
		op := expr.CmpOpEq
		if invert {
			op = expr.CmpOpNeq
		}
		return isProtocol(op, list[0])
	}
	return protocolIn(t.addAnonymousSet(nftables.TypeInetProto, protocols(list)), invert)
}

// messageIs matches messages of ICMP or ICMPv6 by their type.
func (t *table) messageIs(f *ipFamily, protocol uint8, types []uint8) []expr.Any {
	key := nftables.TypeICMPType
	if protocol == unix.IPPROTO_ICMPV6 {
		key = nftables.TypeICMP6Type
	}
	s := t.addAnonymousSet(key, protocols(types))
	return slices.Concat(isFamily(f.number), isProtocol(expr.CmpOpEq, protocol), []expr.Any{
		&expr.Payload{Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1, DestRegister: register},
		lookup(s, false),
	})
}

// addAnonymousSet makes a set that goes with the rule that uses it.
func (t *table) addAnonymousSet(key nftables.SetDatatype, elements []nftables.SetElement) *nftables.Set {
	s := t.addSet("__set%d", key, elements)
	s.Anonymous, s.Constant = true, true
	return s
}

func intersection(a, b []uint8) []uint8 {
	return slices.DeleteFunc(distinct(a), func(p uint8) bool { return !slices.Contains(b, p) })
}

// update gives an element the set has a new life.
func update(s *nftables.Set, timeout time.Duration) expr.Any {
	return &expr.Dynset{SrcRegKey: register, SetName: s.Name, SetID: s.ID, Operation: unix.NFT_DYNSET_OP_UPDATE, Timeout: timeout}
}

// opDelete is NFT_DYNSET_OP_DELETE (since 5.4, d0a8d877da97).
const opDelete = 2

// remove takes an element out of a set, if it is there.
func remove(s *nftables.Set) expr.Any {
	return &expr.Dynset{SrcRegKey: register, SetName: s.Name, SetID: s.ID, Operation: opDelete}
}
