package main

import (
	"strings"
	"testing"

	"verdictd/internal/config"
	"verdictd/internal/engine"
	"verdictd/internal/kernel/kerneltest"
	"verdictd/internal/liverules"
	"verdictd/internal/nfq"
	"verdictd/internal/ruleset"
)

// queueRule is a rule of some program as its packets meet it.
func queueRule(first uint16, hook liverules.Hook, priority int, position liverules.Position, exposure liverules.Exposure, passed ...liverules.MarkTest) liverules.QueueRule {
	return liverules.QueueRule{
		Place: liverules.Place{Source: liverules.NFTables, Family: liverules.Inet, Table: "filter", Chain: string(hook), Handle: 7, Number: 1},
		Queue: liverules.Queue{Statement: "queue", First: first, Last: first},
		Reaches: []liverules.Reach{{
			Way:      liverules.Way{Hook: hook, Priority: priority, Chains: []string{string(hook)}, Families: []liverules.Family{liverules.IPv4, liverules.IPv6}},
			Passed:   passed,
			Position: position, Exposure: exposure,
		}},
		Exposure: exposure,
	}
}

func dnatRule(hook liverules.Hook, priority int) liverules.Rewrite {
	return liverules.Rewrite{
		Place: liverules.Place{Source: liverules.NFTables, Family: liverules.IPv4, Table: "nat", Chain: "dnat", Handle: 9, Number: 1},
		Kind:  "dnat",
		Ways:  []liverules.Way{{Hook: hook, Priority: priority, Chains: []string{"dnat"}, Families: []liverules.Family{liverules.IPv4}}},
	}
}

func TestDecideGuard(t *testing.T) {
	between := liverules.BetweenLookupAndConfirm
	passes := liverules.MarkTest{Mask: 1 << 30, Value: 1 << 30}
	post := engine.Hooks(nfq.HookPostrouting)
	for name, test := range map[string]struct {
		change func(*config.Config)
		rules  liverules.Rules
		want   guarding
		warns  string // part of a warning; empty: there is none
	}{
		"own rules, exposed": {
			want: guarding{mode: engine.GuardReinject},
		},
		"own rules before conntrack": {
			change: func(c *config.Config) { c.Rules.Placement = config.PlacementPreConntrack },
			want:   guarding{mode: engine.GuardOff},
		},
		"own rules before conntrack, a flow in several queues": {
			change: func(c *config.Config) {
				c.Rules.Placement, c.Rules.Fanout, c.Queues.Count = config.PlacementPreConntrack, config.FanoutNumgen, 2
			},
			want:  guarding{mode: engine.GuardOff},
			warns: "into conntrack at the same moment",
		},
		"own rules before conntrack, a flow in one queue": {
			change: func(c *config.Config) {
				c.Rules.Placement, c.Rules.Fanout, c.Queues.Count = config.PlacementPreConntrack, config.FanoutBalance, 2
			},
			want: guarding{mode: engine.GuardOff},
		},
		"own rules, off": {
			change: func(c *config.Config) { c.Guard.Mode = config.GuardOff },
			want:   guarding{mode: engine.GuardOff},
			warns:  "clashes are possible",
		},
		"own rules, drop": {
			change: func(c *config.Config) { c.Guard.Mode = config.GuardDrop },
			want:   guarding{mode: engine.GuardDrop},
		},
		"own rules, DNAT behind them": {
			rules: liverules.Rules{Rewrites: []liverules.Rewrite{dnatRule(liverules.Output, -100)}},
			want:  guarding{mode: engine.GuardReinject},
		},
		"own rules behind DNAT": {
			change: func(c *config.Config) { c.Rules.Placement = config.PlacementPostrouting },
			rules:  liverules.Rules{Rewrites: []liverules.Rewrite{dnatRule(liverules.Output, -100)}},
			want:   guarding{mode: engine.GuardReinject, dnatAt: post},
			warns:  "guard.dnat: drop",
		},
		"the operator's rule": {
			change: func(c *config.Config) { c.Rules.Install = false },
			rules:  liverules.Rules{Queues: []liverules.QueueRule{queueRule(0, liverules.Postrouting, 0, between, liverules.Exposed, passes)}},
			want:   guarding{mode: engine.GuardReinject, at: post},
		},
		"the operator's rule catches copies": {
			change: func(c *config.Config) { c.Rules.Install = false },
			rules:  liverules.Rules{Queues: []liverules.QueueRule{queueRule(0, liverules.Postrouting, 0, between, liverules.Exposed)}},
			want:   guarding{mode: engine.GuardReinject, at: post},
			warns:  "does not let packets with the guard's mark",
		},
		"two of the operator's rules on one way": {
			change: func(c *config.Config) { c.Rules.Install = false },
			rules: liverules.Rules{Queues: []liverules.QueueRule{
				queueRule(0, liverules.Output, -150, between, liverules.Exposed, passes),
				queueRule(0, liverules.Postrouting, -150, between, liverules.Exposed, passes),
			}},
			want: guarding{mode: engine.GuardReinject, at: post},
		},
		"the operator's rule is not exposed": {
			change: func(c *config.Config) { c.Rules.Install = false },
			rules:  liverules.Rules{Queues: []liverules.QueueRule{queueRule(0, liverules.Postrouting, 0, between, liverules.NotExposed, passes)}},
			want:   guarding{mode: engine.GuardOff, at: post},
		},
		"no rule of the operator's": {
			change: func(c *config.Config) { c.Rules.Install = false },
			want:   guarding{mode: engine.GuardReinject},
		},
		"no rule of the operator's, but a placement": {
			change: func(c *config.Config) { c.Rules.Install, c.Rules.Placement = false, config.PlacementPreConntrack },
			want:   guarding{mode: engine.GuardOff},
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config.Default()
			if test.change != nil {
				test.change(cfg)
			}
			got := decideGuard(cfg, &test.rules)
			if got.mode != test.want.mode || got.at != test.want.at || got.dnatAt != test.want.dnatAt || got.why == "" {
				t.Errorf("%+v, want %+v and a reason", got, test.want)
			}
			all := strings.Join(got.warnings, "\n")
			if (test.warns == "") != (all == "") || !strings.Contains(all, test.warns) {
				t.Errorf("warnings %q, want %q", all, test.warns)
			}
		})
	}
}

func TestNeedsProver(t *testing.T) {
	for placement, want := range map[config.Placement]bool{
		config.PlacementOutput: false, config.PlacementPostrouting: false,
		config.PlacementInput: true, config.PlacementForward: true, config.PlacementVerdict3: true,
	} {
		cfg := config.Default()
		cfg.Rules.Placement = placement
		if got := (&guarding{}).needsProver(cfg); got != want {
			t.Errorf("%s: %v, want %v", placement, got, want)
		}
	}
	cfg := config.Default()
	cfg.Rules.Install = false
	for at, want := range map[engine.HookSet]bool{
		0: true, engine.Hooks(nfq.HookOutput): false, engine.Hooks(nfq.HookOutput, nfq.HookForward): true,
	} {
		if got := (&guarding{at: at}).needsProver(cfg); got != want {
			t.Errorf("at %b: %v, want %v", at, got, want)
		}
	}
}

// TestCheckOrder: another program's queue holds packets behind the daemon's.
func TestCheckOrder(t *testing.T) {
	kerneltest.Namespace(t)
	cfg := testConfig()
	if _, err := ruleset.Install(rulesConfig(cfg, false)); err != nil {
		t.Fatal(err)
	}
	var alone guarding
	if alone.checkOrder(cfg); len(alone.warnings) != 0 {
		t.Errorf("warnings without another queue: %q", alone.warnings)
	}
	_, err := ruleset.Install(ruleset.Config{
		Table: "suricata", Placement: ruleset.PlacementPostrouting, Fanout: ruleset.FanoutBalance,
		FirstQueue: 9, Queues: 1, IPv4: true, Protocols: []uint8{17},
	})
	if err != nil {
		t.Fatal(err)
	}
	var behind guarding
	behind.checkOrder(cfg)
	if len(behind.warnings) != 1 || !strings.Contains(behind.warnings[0], "suricata") {
		t.Errorf("warnings %q, want one that names the other program's rule", behind.warnings)
	}
}
