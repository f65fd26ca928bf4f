package main

import (
	"slices"

	"verdictd/internal/config"
	"verdictd/internal/engine"
	"verdictd/internal/nfq"
	"verdictd/internal/policy"
	"verdictd/internal/ruleset"
)

// rulesConfig says which rules the configuration asks for. The gate's chains are
// empty: what passes it depends on the rules of others.
func rulesConfig(cfg *config.Config) ruleset.Config {
	r := &cfg.Rules
	c := ruleset.Config{
		Table:            r.Table,
		Placement:        ruleset.Placement(r.Placement),
		Fanout:           ruleset.Fanout(r.Fanout),
		FirstQueue:       cfg.Queues.First,
		Queues:           uint16(cfg.Queues.Count),
		Bypass:           r.Bypass,
		IPv4:             slices.Contains(r.Families, config.IPv4),
		IPv6:             slices.Contains(r.Families, config.IPv6),
		Protocols:        config.Numbers(r.Protocols),
		DestinationPorts: r.DestinationPorts,
		SourcePorts:      r.SourcePorts,
	}
	if !r.Install {
		c.Placement = ruleset.PlacementNone
	}
	if cfg.Guard.Mode != config.GuardOff {
		c.Gate = &ruleset.Gate{FirstQueue: cfg.Guard.FirstQueue, Queues: uint16(cfg.Guard.Queues)}
	}
	return c
}

// engineConfig says how the packets are judged.
func engineConfig(cfg *config.Config, p *policy.Policy, h engine.Hints) engine.Config {
	q, a := &cfg.Queues, &cfg.Analysis
	return engine.Config{
		Queue: nfq.Config{
			Queue: q.First, MaxLength: q.MaxLength, CopyRange: q.CopyRange,
			FailOpen: q.FailOpen, GSO: q.GSO, Conntrack: q.Conntrack, UIDGID: q.UIDGID,
			ReceiveBuffer: q.ReceiveBuffer, Batch: q.Batch,
		},
		Queues: q.Count,
		Open:   func(c nfq.Config) (nfq.Queue, error) { return nfq.Open(nfq.Backend(cfg.Backend), c) },
		Pin:    q.Pin,
		Policy: p, Undecodable: cfg.Policy.Undecodable,
		Analysis: engine.Analysis{
			Distribution: engine.Distribution(a.Distribution), Delay: a.Delay, Sigma: a.Sigma,
			Max: a.Max, PerFlow: a.Per == config.PerFlow,
		},
		Hints: h,
	}
}
