package service

import (
	"net/netip"
	"testing"
	"time"

	"verdictd/internal/config"
	"verdictd/internal/ruleset"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// TestFlowVerdictsAreGuarded: rules for verdicts on flows make connections be tracked, where nothing else does.
func TestFlowVerdictsAreGuarded(t *testing.T) {
	ns := namespaceWithoutConntrack(t)
	cfg := testConfig()
	cfg.Policy.Flow, cfg.Analysis = true, perFlow(5*time.Millisecond)
	d := start(t, ns, cfg)
	const flows = 20
	if got := burst(t, netip.AddrFrom4([4]byte{127, 0, 0, 1}), flows); got != 4*flows {
		t.Errorf("%d packets arrived, want %d", got, 4*flows)
	}
	s := d.stop()
	checkClashes(t, vocabulary.GuardHold, &s, flows)
}

// TestFlowVerdictsTurnedOff: the gate stays as long as what is left over of their rules.
func TestFlowVerdictsTurnedOff(t *testing.T) {
	ns := namespaceWithoutConntrack(t)
	const thinks = "analysis: {distribution: fixed, delay: 5ms, per: flow}\n"
	r := newReloadable(t, ns, "run", oneport+thinks+"policy: {flow: true}\n")
	r.done(oneport + thinks)
	const flows = 20
	if got := burst(t, netip.AddrFrom4([4]byte{127, 0, 0, 1}), flows); got != 4*flows {
		t.Errorf("%d packets arrived, want %d", got, 4*flows)
	}
	if n := clashes(t); n != 0 {
		t.Errorf("%d clashes", n)
	}
	for until := time.Now().Add(30 * time.Second); r.status().Guard.Mode != string(vocabulary.GuardOff); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("the guard is %+v, want it off", r.status().Guard)
		}
	}
	r.Stop()
}

// TestNothingToInstall: who has neither rules nor a gate made has a daemon all the same.
func TestNothingToInstall(t *testing.T) {
	ns := testkit.Namespace(t)
	cfg := testConfig()
	cfg.Rules = config.Default().Rules
	cfg.Rules.Placement, cfg.Guard.Mode = vocabulary.PlacementNone, vocabulary.GuardOff
	start(t, ns, cfg).stop()
	if there, err := ruleset.Exists(cfg.Rules.Table); there || err != nil {
		t.Errorf("there is a table: %v, %v", there, err)
	}
}
