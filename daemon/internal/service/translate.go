package service

import (
	"log/slog"
	"slices"

	"verdictd/daemon/internal/engine"
	"verdictd/daemon/internal/exposure"
	"verdictd/daemon/internal/guard"
	"verdictd/daemon/internal/policy"
	"verdictd/daemon/internal/translate"
	"verdictd/internal/config"
	"verdictd/internal/liverules"
	"verdictd/internal/nfq"
	"verdictd/internal/ruleset"
	"verdictd/internal/vocabulary"
)

// Rules says which rules for verdicts the configuration asks for.
func Rules(cfg *config.Config) ruleset.Config {
	r := &cfg.Rules
	var marked *ruleset.Verdicts
	if r.Queues() && cfg.Policy.NeedsMarks() {
		marked = &ruleset.Verdicts{Mark: r.MarkMask}
		if cfg.Policy.KeepsFlows() {
			marked.ConnMark = r.ConnMarkMask
		}
	}
	return ruleset.Config{
		Verdicts:         marked,
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
	for i := range cfg.Policy.Rules {
		switch r := &cfg.Policy.Rules[i]; {
		case r.Action == vocabulary.Repeat:
			o.Repeats = true
		case r.Action == vocabulary.Requeue && r.Queue != nil:
			o.HandsOn = append(o.HandsOn, *r.Queue)
		}
	}
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

// tableOf is what the configuration wants in the daemon's table, which may be nothing.
func tableOf(cfg *config.Config, table string) *ruleset.Config {
	gate := gateRules(table, &cfg.Guard)
	switch guarded := cfg.Guard.Mode != vocabulary.GuardOff; {
	case cfg.Rules.Install:
		c := Rules(cfg)
		if guarded {
			c.Gate = gate.Gate
		}
		return &c
	case !guarded:
		gate.Gate = nil // what an earlier configuration wanted is taken away
	}
	return &gate
}

// engineConfig says how the packets are judged.
func (s *service) engineConfig(cfg *config.Config, more []uint16) engine.Config {
	q, j := &cfg.Queues, s.judging
	taken := map[uint16]bool{}
	return engine.Config{
		Queue: nfq.Config{
			Queue: q.First, MaxLength: q.MaxLength, CopyRange: j.attached.CopyRange, CopyMost: vocabulary.MaxCopyRange,
			FailOpen: q.FailOpen, GSO: q.GSO, Conntrack: j.attached.Conntrack, UIDGID: j.attached.UIDGID,
			ReceiveBuffer: q.ReceiveBuffer, Batch: q.Batch, OnDeadly: s.kept.OnDeadly,
		},
		Queues:   q.Count,
		Retiring: more,
		Open: func(c nfq.Config) (queue nfq.Queue, err error) {
			queue, taken[c.Queue], err = openQueue(cfg, s.kept, c)
			return queue, err
		},
		Held: func(number uint16, wanted bool) (nfq.Memory, error) {
			return heldMemory(s.kept, number, wanted, taken[number])
		},
		Pin:       q.Pin,
		Judgement: j.Judgement,
		Hints:     s.keeper.Hints(),
	}
}

// judgement is what packets are judged by.
func judgement(cfg *config.Config, rules *policy.Policy, copied *translate.Copied) engine.Judgement {
	a, p := &cfg.Analysis, &cfg.Policy
	j := engine.Judgement{
		Policy: rules, CopyRange: copied.Bytes, CopyAuto: copied.Auto, Undecodable: p.Undecodable, LogDrops: cfg.Log.Drops,
		Flows: translate.Flows(&p.Names), Holds: translate.Holds(p),
		Analysis: engine.Analysis{
			Distribution: a.Distribution, Delay: a.Delay, Sigma: a.Sigma,
			Max: a.Max, PerFlow: a.Per == vocabulary.PerFlow,
		},
	}
	for i := range p.Rules {
		r := &p.Rules[i]
		j.Names, j.Logs, j.SamplesOf = append(j.Names, r.Name), append(j.Logs, r.Log), append(j.SamplesOf, r.Sample)
	}
	return j
}
