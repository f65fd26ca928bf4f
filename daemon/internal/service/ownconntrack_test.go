package service

import (
	"net/netip"
	"strings"
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
	const thinks = "analysis: {distribution: fixed, delay: 5ms, per: flow}\n"
	for name, crash := range map[string]bool{"by a reload": false, "in a crash": true} {
		t.Run(name, func(t *testing.T) {
			ns := namespaceWithoutConntrack(t)
			r := newReloadable(t, ns, "run", oneport+thinks+"policy: {flow: true}\n")
			if crash {
				r.Kill()
				r = newReloadable(t, ns, "run", oneport+thinks)
			} else {
				r.done(oneport + thinks)
			}
			turnedOff(t, r)
		})
	}
}

func turnedOff(t *testing.T, r *reloadable) {
	t.Helper()
	const flows = 20
	if got := burst(t, netip.AddrFrom4([4]byte{127, 0, 0, 1}), flows); got != 4*flows {
		t.Errorf("%d packets arrived, want %d", got, 4*flows)
	}
	if n := clashes(t); n != 0 {
		t.Errorf("%d clashes", n)
	}
	if s := r.status().Statistics; s.Total.Received == 0 || s.Gate == nil || s.Gate.Total.Held == 0 {
		t.Errorf("%d judged, gate %+v; want packets to be held", s.Total.Received, s.Gate)
	}
	for until := time.Now().Add(30 * time.Second); r.status().Guard.Mode != string(vocabulary.GuardOff); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("the guard is %+v, want it off", r.status().Guard)
		}
	}
	r.Stop()
}

// TestTurnedOff: of rules and a gate that are not wanted any more nothing stays, and nobody is said to have removed it.
func TestTurnedOff(t *testing.T) {
	for name, test := range map[string]struct{ before, after, table string }{
		"rules":              {"", "rules: {placement: none}\nguard: {mode: off}\n", "verdictd"},
		"an operator's gate": {"rules: {install: false}\nguard: {mode: hold}\n", "rules: {install: false}\nguard: {mode: off}\n", "verdictd-gate"},
	} {
		t.Run(name, func(t *testing.T) {
			ns := testkit.Namespace(t)
			r := newReloadable(t, ns, "run", test.before)
			nothing := func(when string) {
				t.Helper()
				there := true
				for until := time.Now().Add(20 * time.Second); there && time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
					var err error
					if there, err = ruleset.Exists(test.table); err != nil {
						t.Fatal(err)
					}
				}
				if s := r.status(); there || s.Rules.Statement != "" {
					t.Errorf("%s: table %s is there: %v; status says %+v", when, test.table, there, s.Rules)
				}
			}
			r.done(test.after)
			nothing("after a reload")
			r.done(test.before)
			if there, err := ruleset.Exists(test.table); !there || err != nil {
				t.Errorf("after it was turned on again: table %s is there: %v, %v", test.table, there, err)
			}
			r.Kill()
			r = newReloadable(t, ns, "run", test.after)
			nothing("after a crash")
			r.Stop()
			if strings.Contains(r.Log(), "somebody has removed") {
				t.Error("it says that somebody has removed its rules")
			}
		})
	}
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
