package service

import (
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"verdictd/internal/config"
	"verdictd/internal/netlab"
	"verdictd/internal/ruleset"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// thinks is long enough over each flow's first packet that others of it come meanwhile.
const thinks = "analysis: {distribution: fixed, delay: 5ms, per: flow}\n"

// tracking are policies whose verdicts take rules that have connections tracked.
var tracking = map[string]string{
	"flows":   oneport + "policy: {flow: true}\n",
	"rejects": "rules: {destination_ports: [5300], protocols: [udp, tcp]}\npolicy: {rules: [{action: reject, destination_ports: [1]}]}\n",
}

// TestOwnRulesTrack: packets are guarded where nothing but the daemon's own rules has connections tracked, and as long
// as what is left over of these rules does.
func TestOwnRulesTrack(t *testing.T) {
	for policy, text := range tracking {
		for how, off := range map[string]func(r *reloadable, ns *netlab.NetNS) *reloadable{
			"not turned off":         nil,
			"turned off by a reload": func(r *reloadable, _ *netlab.NetNS) *reloadable { r.done(oneport + thinks); return r },
			"turned off in a crash": func(r *reloadable, ns *netlab.NetNS) *reloadable {
				r.Kill()
				return newReloadable(t, ns, "run", oneport+thinks)
			},
		} {
			t.Run(policy+" "+how, func(t *testing.T) {
				ns := namespaceWithoutConntrack(t)
				r := newReloadable(t, ns, "run", text+thinks)
				if off != nil {
					r = off(r, ns)
				}
				heldAll(t, r)
				if off != nil {
					awaitOff(t, r)
				}
				r.Stop()
			})
		}
	}
}

// heldAll sends flows of which further packets are to be held.
func heldAll(t *testing.T, r *reloadable) {
	t.Helper()
	const flows = 20
	if got := burst(t, netip.AddrFrom4([4]byte{127, 0, 0, 1}), flows); got != 4*flows {
		t.Errorf("%d packets arrived, want %d", got, 4*flows)
	}
	if n := clashes(t); n != 0 {
		t.Errorf("%d clashes", n)
	}
	if s := r.status().Statistics; s.Total.Received == 0 || s.Gate == nil || s.Gate.Total.Held < flows {
		t.Errorf("%d judged, gate %+v; want packets to be held", s.Total.Received, s.Gate)
	}
}

func awaitOff(t *testing.T, r *reloadable) {
	t.Helper()
	for until := time.Now().Add(30 * time.Second); r.status().Guard.Mode != string(vocabulary.GuardOff); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("the guard is %+v, want it off", r.status().Guard)
		}
	}
}

// TestTrackingEnds: what waits when a reload takes away the last rules that had connections tracked is judged.
func TestTrackingEnds(t *testing.T) {
	const slowly = "guard: {mode: off}\nanalysis: {distribution: fixed, delay: 10ms}\n"
	for policy, text := range tracking {
		t.Run(policy, func(t *testing.T) {
			ns := namespaceWithoutConntrack(t)
			r := newReloadable(t, ns, "run", text+slowly)
			in := listen(t, ns, loopback4)
			const packets = 50
			for range packets {
				write(t, dial(t, ns, loopback4), "x") // each is a flow
			}
			r.done(oneport + slowly)
			var got atomic.Int64
			go receive(in, &got)
			settle(t, &got, packets)
			if n := got.Load(); n != packets {
				t.Errorf("%d of %d packets arrived", n, packets)
			}
			r.Stop()
		})
	}
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
