package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"verdictd/internal/config"
	"verdictd/internal/ct"
	"verdictd/internal/engine"
	"verdictd/internal/kernel"
	"verdictd/internal/liverules"
	"verdictd/internal/nfq"
	"verdictd/internal/ruleset"
)

// guarding is what the guard does on this machine.
type guarding struct {
	mode engine.GuardMode
	why  string
	// at are the hooks where it acts (none: all), dnatAt those that DNAT precedes.
	at, dnatAt engine.HookSet
	// entries: the queues for what is known of entries are bound.
	entries bool
	// newProver asks conntrack; nil where the kernel does not answer.
	newProver func() (engine.Prover, error)
	warnings  []string
}

func (g *guarding) warn(format string, args ...any) {
	g.warnings = append(g.warnings, fmt.Sprintf(format, args...))
}

// planGuard decides what the guard does, before anything is set up.
func planGuard(ctx context.Context, cfg *config.Config) guarding {
	rules, _ := liverules.Read() // usable whatever could not be read, which it lists
	g := decideGuard(cfg, rules)
	g.findEntries(cfg, rules)
	g.warnOfZones(cfg, rules)
	for _, u := range rules.Unread {
		g.warn("cannot read the live rules, and so not say whether any are in the guard's way: %v", u)
	}
	g.checkTimeouts(cfg)
	g.findProver(ctx, cfg)
	return g
}

// findProver tries whether conntrack can be asked, where that is needed: it makes
// the kernel load nf_conntrack_netlink.
func (g *guarding) findProver(ctx context.Context, cfg *config.Config) {
	if g.mode != engine.GuardReinject || !g.needsProver(cfg) {
		return
	}
	err := kernel.Load(ctx, kernel.PartConntrack)
	if err == nil {
		var l *ct.Lookup
		if l, err = ct.NewLookup(); err == nil {
			err = l.Close()
		}
	}
	if err != nil {
		g.warn("further packets at INPUT and FORWARD are given back and may clash, as the guard cannot ask conntrack whether their flow is confirmed: %v", err)
		return
	}
	g.newProver = func() (engine.Prover, error) { return ct.NewLookup() }
}

// decideGuard looks at where the packets of these queues wait, which is known of
// the daemon's own rules and read of the operator's.
func decideGuard(cfg *config.Config, rules *liverules.Rules) guarding {
	if cfg.Rules.Install {
		return guardOwnRules(cfg, rules)
	}
	return guardForeignRules(cfg, rules)
}

func guardOwnRules(cfg *config.Config, rules *liverules.Rules) (g guarding) {
	placement := cfg.Rules.Placement
	switch placement {
	case config.PlacementNone, config.PlacementPreConntrack, config.PlacementNotrack:
		g.mode, g.why = engine.GuardOff, fmt.Sprintf("packets queued at placement %s carry no conntrack entry that could clash", placement)
		if placement == config.PlacementPreConntrack && cfg.Queues.Count > 1 && (cfg.Rules.Fanout == config.FanoutCPU || cfg.Rules.Fanout == config.FanoutNumgen) {
			g.warn("rules.fanout %s spreads a flow's packets over queues: two threads may let them into conntrack at the same moment, where they can clash as any two packets sent by two CPUs; use fanout %s or %s", cfg.Rules.Fanout, config.FanoutBalance, config.FanoutPorts)
		}
		return g
	}
	g.choose(cfg, fmt.Sprintf("packets queued at placement %s may be unconfirmed", placement))
	for _, site := range ruleset.Placement(placement).Sites() {
		for _, family := range families(cfg) {
			for _, rewrite := range rules.DNATBefore(family, liverules.Hook(site.Hook), site.Priority) {
				g.addDNAT(cfg, liverules.Hook(site.Hook), rewrite)
			}
		}
	}
	return g
}

func guardForeignRules(cfg *config.Config, rules *liverules.Rules) (g guarding) {
	order := rules.BehindOurs(queueNumbers(cfg, mayServeEntries(cfg)))
	if len(order.Last) == 0 {
		if cfg.Rules.Placement == config.PlacementPreConntrack || cfg.Rules.Placement == config.PlacementNotrack {
			g.mode, g.why = engine.GuardOff, fmt.Sprintf("rules.placement is %s", cfg.Rules.Placement)
			return g
		}
		g.choose(cfg, "no live rule was found that queues to this daemon, so that packets may come from anywhere")
		return g
	}
	exposed := false
	for _, site := range order.Last {
		g.at |= engine.Hooks(hookNumber(site.Reach.Hook))
		exposed = exposed || site.Reach.Exposure != liverules.NotExposed
		if !site.Reach.Passes(cfg.Guard.Mark) {
			g.warn("%v does not let packets with the guard's mark (%#x) pass: copies would be queued again; put a rule before it that does", site.Rule, cfg.Guard.Mark)
		}
		for _, rewrite := range rules.RewritesBefore(site) {
			g.addDNAT(cfg, site.Reach.Hook, rewrite)
		}
	}
	if !exposed && cfg.Guard.Mode == config.GuardAuto {
		g.mode, g.why = engine.GuardOff, "no live rule queues unconfirmed packets to this daemon"
		return g
	}
	g.choose(cfg, fmt.Sprintf("%v queues packets that may be unconfirmed", order.Last[0].Rule))
	return g
}

// choose sets the mode where there is something to guard.
func (g *guarding) choose(cfg *config.Config, why string) {
	g.why = why
	switch cfg.Guard.Mode {
	case config.GuardAuto:
		g.mode = engine.GuardReinject
	default:
		g.mode = engine.GuardMode(cfg.Guard.Mode)
	}
	if g.mode == engine.GuardOff {
		g.warn("guard.mode is off, though %s: clashes are possible", why)
	}
}

// addDNAT notes that destinations are rewritten before packets are queued.
func (g *guarding) addDNAT(cfg *config.Config, h liverules.Hook, rewrite liverules.Rewrite) {
	g.dnatAt |= engine.Hooks(hookNumber(h))
	if g.mode != engine.GuardReinject {
		return
	}
	what := "let go as they are, and may clash"
	if cfg.Guard.DNAT == config.DNATDrop {
		what = "dropped"
	}
	g.warn("%v may rewrite destinations before %s, and a copy of such a packet would begin another flow: further packets there are %s (guard.dnat: %s), all of them unless something tells them apart: guard.entry_queues, or queues.conntrack where the kernel has it", rewrite.Place, h, what, cfg.Guard.DNAT)
}

// checkOrder warns of queues of other programs between these queues, whose rules
// are in place, and the confirm: there the verdict's return is not the confirm.
func (g *guarding) checkOrder(cfg *config.Config) {
	rules, _ := liverules.Read() // planGuard has said what it cannot read
	for _, site := range rules.BehindOurs(queueNumbers(cfg, g.entries)).ForeignBehind() {
		g.warn("%v holds packets behind this daemon before they are confirmed: they can clash there, and the guard cannot prevent it; let the guard's mark (%#x) pass there, or queue before conntrack", site.Rule, cfg.Guard.Mark)
	}
}

// checkTimeouts warns where conntrack may forget a flow before the guard does:
// then packets of a flow that counts as settled are unconfirmed again.
func (g *guarding) checkTimeouts(cfg *config.Config) {
	setting := kernel.ReadConntrack(os.DirFS("/")).UDPTimeout
	if setting.Err != nil {
		return // no conntrack, or no right to see its settings
	}
	if timeout := time.Duration(setting.Value) * time.Second; cfg.Guard.Idle > timeout/2 {
		g.warn("guard.idle is %v and conntrack forgets an idle UDP flow after %v (nf_conntrack_udp_timeout): set guard.idle to half of that or less", cfg.Guard.Idle, timeout)
	}
}

// warnOfZones: a look-up names none, and a copy would be in another one.
func (g *guarding) warnOfZones(cfg *config.Config, rules *liverules.Rules) {
	if g.mode == engine.GuardReinject && g.needsProver(cfg) && len(rules.Zones) > 0 {
		g.warn("%v puts packets into a conntrack zone, in which the guard cannot look flows up: further packets of such flows at INPUT and FORWARD are given back and may clash; queue them before conntrack", rules.Zones[0])
	}
}

// needsProver reports whether packets may come from INPUT or FORWARD.
func (g *guarding) needsProver(cfg *config.Config) bool {
	if !cfg.Rules.Install {
		return g.at == 0 || g.at&engine.Hooks(nfq.HookInput, nfq.HookForward) != 0
	}
	return slices.ContainsFunc(ruleset.Placement(cfg.Rules.Placement).Sites(), func(s ruleset.Site) bool {
		h := liverules.Hook(s.Hook)
		return h == liverules.Input || h == liverules.Forward
	})
}

// queueNumbers are those of all queues of the daemon.
func queueNumbers(cfg *config.Config, entries bool) (numbers []uint16) {
	for _, offset := range queueOffsets(entries) {
		for i := range cfg.Queues.Count {
			numbers = append(numbers, cfg.Queues.First+offset+uint16(i))
		}
	}
	return numbers
}

// queueOffsets are added to the number of a queue for those that it is served with.
func queueOffsets(entries bool) []uint16 {
	if entries {
		return []uint16{0, config.ConfirmedQueues, config.UnconfirmedQueues, config.TranslatedQueues}
	}
	return []uint16{0}
}

func families(cfg *config.Config) (list []liverules.Family) {
	if slices.Contains(cfg.Rules.Families, config.IPv4) {
		list = append(list, liverules.IPv4)
	}
	if slices.Contains(cfg.Rules.Families, config.IPv6) {
		list = append(list, liverules.IPv6)
	}
	return list
}

// hookNumber is the hook as packets from a queue name it.
func hookNumber(h liverules.Hook) nfq.Hook {
	return map[liverules.Hook]nfq.Hook{
		liverules.Prerouting: nfq.HookPrerouting, liverules.Input: nfq.HookInput, liverules.Forward: nfq.HookForward,
		liverules.Output: nfq.HookOutput, liverules.Postrouting: nfq.HookPostrouting,
	}[h]
}
