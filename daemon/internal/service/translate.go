package service

import (
	"log/slog"
	"slices"

	"verdictd/daemon/internal/engine"
	"verdictd/daemon/internal/exposure"
	"verdictd/daemon/internal/guard"
	"verdictd/daemon/internal/journal"
	"verdictd/daemon/internal/policy"
	"verdictd/internal/config"
	"verdictd/internal/liverules"
	"verdictd/internal/nfq"
	"verdictd/internal/ruleset"
	"verdictd/internal/vocabulary"
)

// Rules says which rules for verdicts the configuration asks for.
func Rules(cfg *config.Config) ruleset.Config {
	r := &cfg.Rules
	return ruleset.Config{
		Table:            r.Table,
		Placement:        r.Placement,
		Fanout:           r.Fanout,
		FirstQueue:       cfg.Queues.First,
		Queues:           uint16(cfg.Queues.Count),
		Bypass:           cfg.Bypass(),
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

// gateSuffix makes the name of the gate's table where rules.table is the operator's.
const gateSuffix = "-gate"

// guardOptions say what is guarded: the queues that the daemon judges.
func guardOptions(cfg *config.Config, log *slog.Logger) guard.Options {
	first := cfg.Queues.First
	o := guard.Options{
		Guard: &cfg.Guard, Log: log, Table: cfg.Rules.Table,
		Queues: []exposure.QueueRange{{First: first, Last: first + uint16(cfg.Queues.Count-1)}},
	}
	if cfg.Rules.Install {
		o.Own = ownPackets(&cfg.Rules)
		if cfg.Rules.Fanout == vocabulary.FanoutCPU {
			o.Spread = cfg.Queues.Count
		}
	} else {
		o.Operators = o.Table
		o.Table += gateSuffix
		o.Alone = true
	}
	o.Rules, o.Manage = tableOf(cfg, o.Table), cfg.Rules.Manage
	return o
}

// ownPackets are what the daemon's own rules queue, where that can clash.
func ownPackets(r *config.Rules) *liverules.Selection {
	own := &liverules.Selection{}
	if !r.Placement.Exposed() {
		return own
	}
	for _, f := range r.Families {
		own.Families = append(own.Families, map[vocabulary.Family]liverules.Family{vocabulary.IPv4: liverules.IPv4, vocabulary.IPv6: liverules.IPv6}[f])
	}
	for _, p := range r.Protocols {
		own.Protocols = append(own.Protocols, liverules.Protocol(p))
	}
	for _, port := range slices.Concat(r.DestinationPorts, r.SourcePorts) {
		own.Ports = append(own.Ports, vocabulary.Ports(port, port))
	}
	return own
}

// tableOf is what the configuration wants in the daemon's table; nil: none.
func tableOf(cfg *config.Config, table string) *ruleset.Config {
	gate := gateRules(table, &cfg.Guard)
	switch guarded := cfg.Guard.Mode != vocabulary.GuardOff; {
	case cfg.Rules.Install:
		c := Rules(cfg)
		if guarded {
			c.Gate = gate.Gate
		}
		return &c
	case guarded:
		return &gate
	}
	return nil
}

// engineConfig says how the packets are judged.
func engineConfig(cfg *config.Config, h engine.Hints, kept *journal.Kept, more []uint16) (engine.Config, error) {
	q := &cfg.Queues
	j, err := judgement(cfg)
	return engine.Config{
		Queue: nfq.Config{
			Queue: q.First, MaxLength: q.MaxLength, CopyRange: q.CopyRange,
			FailOpen: q.FailOpen, GSO: q.GSO, Conntrack: q.Conntrack, UIDGID: q.UIDGID,
			ReceiveBuffer: q.ReceiveBuffer, Batch: q.Batch, OnDeadly: kept.OnDeadly,
		},
		Queues:    q.Count,
		Retiring:  more,
		Open:      func(c nfq.Config) (nfq.Queue, error) { return openQueue(cfg, kept, c) },
		Pin:       q.Pin,
		Judgement: j,
		Hints:     h,
	}, err
}

// judgement is what packets are judged by.
func judgement(cfg *config.Config) (engine.Judgement, error) {
	a := &cfg.Analysis
	rules, err := policy.Compile(policyOf(&cfg.Policy), nil)
	return engine.Judgement{
		Policy: rules, Undecodable: cfg.Policy.Undecodable, Names: ruleNames(&cfg.Policy), LogDrops: cfg.Log.Drops,
		Analysis: engine.Analysis{
			Distribution: a.Distribution, Delay: a.Delay, Sigma: a.Sigma,
			Max: a.Max, PerFlow: a.Per == vocabulary.PerFlow,
		},
	}, err
}

// ruleNames are what the policy's rules are counted by.
func ruleNames(p *config.Policy) (names []string) {
	for i := range p.Rules {
		names = append(names, p.Rules[i].Name)
	}
	return names
}

// policyOf is what the packets are judged by.
func policyOf(p *config.Policy) policy.Config {
	c := policy.Config{Default: p.Default, Rules: make([]policy.Rule, len(p.Rules))}
	for i, r := range p.Rules {
		c.Rules[i] = policy.Rule{Name: r.Name, Action: r.Action, Match: policy.Match{
			Protocols:        vocabulary.Numbers(r.Protocols),
			Source:           addresses(r.Source),
			Destination:      addresses(r.Destination),
			SourcePorts:      ports(r.SourcePorts),
			DestinationPorts: ports(r.DestinationPorts),
		}}
	}
	return c
}

func addresses(list []config.Prefix) (a policy.Addresses) {
	a.Prefixes, _ = config.Prefixes(list)
	return a
}

func ports(list []config.Ports) (p policy.Ports) {
	p.Ranges, _ = config.Ranges(list)
	return p
}
