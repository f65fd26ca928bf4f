package main

import (
	"fmt"
	"slices"

	"verdictd/internal/config"
	"verdictd/internal/liverules"
	"verdictd/internal/ruleset"
)

// gatePlan is what has to pass the gate, as the rules are now.
type gatePlan struct {
	traffic []ruleset.Traffic
	zones   []uint16
	// rounds is how many queues a packet may meet behind the gate, one after the
	// other; 0: not known.
	rounds int
	why    string
	// notes are for the operator: what the gate cannot cover.
	notes []string
}

func (p *gatePlan) active() bool { return len(p.traffic) > 0 }

// planOwn plans for the daemon's own rules, of which the configuration tells.
func planOwn(cfg *config.Config, rules *liverules.Rules) gatePlan {
	placement := cfg.Rules.Placement
	switch placement {
	case config.PlacementNone, config.PlacementPreConntrack, config.PlacementNotrack:
		p := gatePlan{why: fmt.Sprintf("packets queued at placement %s carry no conntrack entry that could clash", placement)}
		if placement == config.PlacementPreConntrack && cfg.Queues.Count > 1 && (cfg.Rules.Fanout == config.FanoutCPU || cfg.Rules.Fanout == config.FanoutNumgen) {
			p.notes = append(p.notes, fmt.Sprintf("rules.fanout %s spreads a flow's packets over queues: two threads may let them into conntrack at the same moment, where they can clash as any two packets sent by two CPUs; use fanout %s or %s", cfg.Rules.Fanout, config.FanoutBalance, config.FanoutPorts))
		}
		return p
	}
	t := ruleset.Traffic{
		IPv4: slices.Contains(cfg.Rules.Families, config.IPv4) && rules.Conntrack.IPv4 != liverules.No,
		IPv6: slices.Contains(cfg.Rules.Families, config.IPv6) && rules.Conntrack.IPv6 != liverules.No,
	}
	if !t.IPv4 && !t.IPv6 {
		return gatePlan{why: "conntrack is not active: " + rules.Conntrack.Reason}
	}
	for _, protocol := range config.Numbers(cfg.Rules.Protocols) {
		if slices.Contains(ruleset.GateProtocols, protocol) {
			t.Protocols = append(t.Protocols, protocol)
		}
	}
	for _, port := range slices.Concat(cfg.Rules.DestinationPorts, cfg.Rules.SourcePorts) {
		t.Ports = append(t.Ports, ruleset.PortRange{First: port, Last: port})
	}
	if len(t.Protocols) == 0 {
		return gatePlan{why: "no protocol in rules.protocols has packets that clash"}
	}
	return gatePlan{
		traffic: []ruleset.Traffic{t}, zones: servedZones(rules),
		why: fmt.Sprintf("packets queued at placement %s may be unconfirmed", placement),
	}
}

// planLive plans for the queues of other programs, by the live rules.
func planLive(cfg *config.Config, rules *liverules.Rules, table string, queues []queueRange) gatePlan {
	return gatePlan{why: "no live rule queues packets that can clash"}
}

// judgedRange is the queues that the configuration has the daemon judge.
func judgedRange(cfg *config.Config) []queueRange {
	return []queueRange{{cfg.Queues.First, cfg.Queues.First + uint16(cfg.Queues.Count-1)}}
}

// servedZones are those that rules put packets into, as far as they name them.
func servedZones(rules *liverules.Rules) (ids []uint16) {
	for _, z := range rules.Zones {
		if !z.Computed && z.ID != 0 && !slices.Contains(ids, z.ID) {
			ids = append(ids, z.ID)
		}
	}
	slices.Sort(ids)
	return ids
}
