package main

import (
	"errors"
	"fmt"
	"slices"

	"verdictd/internal/config"
	"verdictd/internal/engine"
	"verdictd/internal/liverules"
	"verdictd/internal/nfq"
	"verdictd/internal/ruleset"
)

// mayServeEntries: the library of the other backend has one queue for each socket,
// and so would not keep the order of packets between queues.
func mayServeEntries(cfg *config.Config) bool {
	return cfg.Guard.EntryQueues && cfg.Backend == config.BackendMMsg
}

// rulesTellEntries reports whether the daemon's rules shall tell what conntrack
// knows of packets. Such rules make connections be tracked, so that they are for
// machines which do that anyway.
func rulesTellEntries(cfg *config.Config, rules *liverules.Rules) bool {
	switch cfg.Rules.Placement {
	case config.PlacementNone, config.PlacementPreConntrack, config.PlacementNotrack:
		return false
	}
	// A rule of family inet counts for both.
	return mayServeEntries(cfg) && rules.Conntrack.IPv4 == liverules.Yes && rules.Conntrack.IPv6 == liverules.Yes
}

// findEntries decides which queues there are. Rules of the operator's may use any
// of them, now or later.
func (g *guarding) findEntries(cfg *config.Config, rules *liverules.Rules) {
	if !cfg.Rules.Install {
		g.entries = mayServeEntries(cfg)
		g.warnOfUnserved(cfg, rules)
		return
	}
	if g.mode == engine.GuardOff || cfg.Queues.Conntrack || !rulesTellEntries(cfg, rules) {
		return
	}
	if err := ruleset.ProbeEntries(); err != nil {
		g.warn("the rules cannot tell whether a packet's entry is confirmed, so that flows settle later: %v", err)
		return
	}
	g.entries = true
}

// warnOfUnserved finds rules that tell about entries to nobody.
func (g *guarding) warnOfUnserved(cfg *config.Config, rules *liverules.Rules) {
	if g.entries {
		return
	}
	served := queueNumbers(cfg, false)
	for _, number := range queueNumbers(cfg, true) {
		at := slices.IndexFunc(rules.Queues, func(q liverules.QueueRule) bool { return !q.Computed && q.First <= number && number <= q.Last })
		if !slices.Contains(served, number) && at >= 0 {
			g.warn("%v goes to queue %d, which tells the guard about conntrack's entries and which this daemon does not serve: set guard.entry_queues to true and backend to %s, or change the rule", rules.Queues[at], number, config.BackendMMsg)
			return
		}
	}
}

// explainEntryQueue says why the daemon wants a number that nobody has configured.
func explainEntryQueue(err error, g *guarding) error {
	if inUse, ok := errors.AsType[*nfq.InUseError](err); ok && g.entries && inUse.Queue >= config.ConfirmedQueues {
		return fmt.Errorf("%w, change queues.first, or set guard.entry_queues to false", err)
	}
	return err
}
