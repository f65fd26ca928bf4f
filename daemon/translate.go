package main

import (
	"slices"

	"verdictd/internal/config"
	"verdictd/internal/engine"
	"verdictd/internal/flow"
	"verdictd/internal/nfq"
	"verdictd/internal/policy"
	"verdictd/internal/reinject"
	"verdictd/internal/ruleset"
)

// rulesConfig says which rules the configuration asks for. With entries they tell
// what conntrack knows of each packet.
func rulesConfig(cfg *config.Config, entries bool) ruleset.Config {
	r := &cfg.Rules
	c := ruleset.Config{
		Table:            r.Table,
		Placement:        ruleset.Placement(r.Placement),
		Fanout:           ruleset.Fanout(r.Fanout),
		FirstQueue:       cfg.Queues.First,
		Queues:           uint16(cfg.Queues.Count),
		Bypass:           r.Bypass,
		Mark:             cfg.Guard.Mark,
		IPv4:             slices.Contains(r.Families, config.IPv4),
		IPv6:             slices.Contains(r.Families, config.IPv6),
		Protocols:        config.Numbers(r.Protocols),
		DestinationPorts: r.DestinationPorts,
		SourcePorts:      r.SourcePorts,
	}
	if entries {
		c.Entries = &ruleset.Entries{
			Confirmed: config.ConfirmedQueues, Unconfirmed: config.UnconfirmedQueues, Translated: config.TranslatedQueues,
		}
	}
	return c
}

// engineConfig says how the packets are judged.
func engineConfig(cfg *config.Config, p *policy.Policy, guard *guarding) engine.Config {
	q, g, a := &cfg.Queues, &cfg.Guard, &cfg.Analysis
	c := engine.Config{
		Queue: nfq.Config{
			Queue: q.First, MaxLength: q.MaxLength, CopyRange: q.CopyRange,
			FailOpen: q.FailOpen, GSO: q.GSO, Conntrack: q.Conntrack, UIDGID: q.UIDGID,
			ReceiveBuffer: q.ReceiveBuffer, Batch: q.Batch,
		},
		Queues: q.Count,
		Open:   func(c nfq.Config) (nfq.Queue, error) { return nfq.Open(nfq.Backend(cfg.Backend), c) },
		Pin:    q.Pin,
		Policy: p,
		Analysis: engine.Analysis{
			Distribution: engine.Distribution(a.Distribution), Delay: a.Delay, Sigma: a.Sigma,
			Max: a.Max, PerFlow: a.Per == config.PerFlow,
		},
		Guard:     guard.mode,
		GuardAt:   guard.at,
		DNATAt:    guard.dnatAt,
		Mark:      g.Mark,
		Flows:     flow.Config{Flows: g.Flows, Grace: g.Grace, Idle: g.Idle},
		DNAT:      engine.GuardMode(g.DNAT),
		NewSender: func() (engine.Sender, error) { return reinject.NewSender(g.Mark) },
		NewProver: guard.newProver,
	}
	if guard.entries {
		c.EntryQueues = &engine.EntryQueues{
			Confirmed: config.ConfirmedQueues, Unconfirmed: config.UnconfirmedQueues, Translated: config.TranslatedQueues,
		}
	}
	return c
}
