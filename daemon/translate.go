package main

import (
	"slices"

	"verdictd/daemon/internal/engine"
	"verdictd/daemon/internal/policy"
	"verdictd/internal/config"
	"verdictd/internal/nfq"
	"verdictd/internal/ruleset"
	"verdictd/internal/vocabulary"
)

// rulesConfig says which rules for verdicts the configuration asks for.
func rulesConfig(cfg *config.Config) ruleset.Config {
	r := &cfg.Rules
	return ruleset.Config{
		Table:            r.Table,
		Placement:        r.Placement,
		Fanout:           r.Fanout,
		FirstQueue:       cfg.Queues.First,
		Queues:           uint16(cfg.Queues.Count),
		Bypass:           r.Bypass,
		IPv4:             slices.Contains(r.Families, vocabulary.IPv4),
		IPv6:             slices.Contains(r.Families, vocabulary.IPv6),
		Protocols:        vocabulary.Numbers(r.Protocols),
		DestinationPorts: r.DestinationPorts,
		SourcePorts:      r.SourcePorts,
	}
}

// gateRules are a table with the gate's chains alone. They are empty: what passes
// the gate depends on the rules of others.
func gateRules(table string, g *config.Guard) ruleset.Config {
	return ruleset.Config{
		Table: table, Placement: vocabulary.PlacementNone, Fanout: vocabulary.FanoutBalance, Queues: 1, IPv4: true, IPv6: true,
		Gate: &ruleset.Gate{FirstQueue: g.FirstQueue, Queues: uint16(max(g.Queues, 1))},
	}
}

// installRules installs what the configuration asks for; nil where that is nothing.
func installRules(cfg *config.Config, table string) (*ruleset.Installed, error) {
	gate := cfg.Guard.Mode != vocabulary.GuardOff
	switch {
	case cfg.Rules.Install:
		c := rulesConfig(cfg)
		if gate {
			c.Gate = gateRules(table, &cfg.Guard).Gate
			c.Detached = true // until the gate is open
		}
		return ruleset.Install(c)
	case gate:
		return ruleset.InstallGate(gateRules(table, &cfg.Guard))
	}
	return nil, nil
}

// engineConfig says how the packets are judged.
func engineConfig(cfg *config.Config, h engine.Hints) engine.Config {
	q, a := &cfg.Queues, &cfg.Analysis
	return engine.Config{
		Queue: nfq.Config{
			Queue: q.First, MaxLength: q.MaxLength, CopyRange: q.CopyRange,
			FailOpen: q.FailOpen, GSO: q.GSO, Conntrack: q.Conntrack, UIDGID: q.UIDGID,
			ReceiveBuffer: q.ReceiveBuffer, Batch: q.Batch,
		},
		Queues: q.Count,
		Open:   func(c nfq.Config) (nfq.Queue, error) { return nfq.Open(cfg.Backend, c) },
		Pin:    q.Pin,
		Policy: policyOf(&cfg.Policy), Undecodable: cfg.Policy.Undecodable,
		Analysis: engine.Analysis{
			Distribution: a.Distribution, Delay: a.Delay, Sigma: a.Sigma,
			Max: a.Max, PerFlow: a.Per == vocabulary.PerFlow,
		},
		Hints: h,
	}
}

// policyOf is what the packets are judged by.
func policyOf(p *config.Policy) *policy.Policy {
	rules := make([]policy.Rule, len(p.Rules))
	for i, r := range p.Rules {
		rules[i] = policy.Rule{
			Action: r.Action, Protocols: vocabulary.Numbers(r.Protocols), Source: r.Source, Destination: r.Destination,
			SourcePorts: config.Ranges(r.SourcePorts), DestinationPorts: config.Ranges(r.DestinationPorts),
		}
	}
	return policy.Compile(p.Default, rules)
}
