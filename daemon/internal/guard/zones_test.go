package guard

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"verdictd/daemon/internal/childtest"
	"verdictd/daemon/internal/exposure"
	"verdictd/daemon/internal/gate/runner"
	"verdictd/internal/nfq"
	"verdictd/internal/vocabulary"
)

// TestCannotGrow: a gate that cannot have the numbers that another conntrack zone takes stays as it is, and works.
func TestCannotGrow(t *testing.T) {
	for name, test := range map[string]struct {
		first, verdicts uint16
		taken           int // by another program; 0: none
		said            string
	}{
		"beyond the last": {65534, 0, 0, "would be 65534 to 65537, as rules have 2 conntrack zones, and the last that exists is 65535"},
		"its own queue":   {100, 102, 0, "and overlap those of the verdicts, 102 to 102"},
		"taken":           {100, 0, 102, "open the gate: queue 102: held by"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serveWith(t, func(o *Options) {
				o.Guard.FirstQueue, o.Rules.Gate.FirstQueue, o.Rules.FirstQueue = test.first, test.first, test.verdicts
				o.Queues = []exposure.QueueRange{{First: test.verdicts, Last: test.verdicts}}
				o.Judged = func(queue uint16) (uint32, bool) { return 0, queue == test.verdicts }
			})
			s.on(func() {
				if test.taken > 0 {
					q, err := nfq.OpenMmsg(nfq.Config{Queue: uint16(test.taken)})
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { _ = q.Close() })
				}
				childtest.NFT(t, s.ns, "table inet zones { chain c { type filter hook output priority -300; udp dport 53 ct zone set 5; }; }")
			})
			s.logs(test.said, 1)
			s.on(func() {
				change, err := s.installed.Check()
				at := fmt.Sprint(s.gate != nil, s.Mode(), s.installed.Config().GateDetached, change.Differences, err)
				if want := fmt.Sprint(true, vocabulary.GuardHold, false, []string(nil), nil); at != want {
					t.Errorf("the gate is %s, want %s", at, want)
				}
			})
			s.end()
		})
	}
}

// TestNumberFree: a gate stays open while another program holds a number that it needs for a zone. When that is free
// the gate takes it, though no rule changes. Where nothing was guarded before it is the same.
func TestNumberFree(t *testing.T) {
	const zone = "table inet zones { chain c { type filter hook output priority -300; udp dport 53 ct zone set 5; }; }"
	for name, test := range map[string]struct {
		taken uint16
		mode  vocabulary.GuardMode
	}{"the zone's": {102, vocabulary.GuardHold}, "all": {100, vocabulary.GuardOff}} {
		t.Run(name, func(t *testing.T) {
			s := serveWith(t, func(o *Options) {
				o.Guard.FirstQueue, o.Rules.Gate.FirstQueue = 100, 100
				if test.mode == vocabulary.GuardOff {
					o.Own, o.Rules.Placement = nil, vocabulary.PlacementNone
				}
			})
			var q nfq.Queue
			var first *runner.Gate
			s.on(func() {
				first = s.gate
				var err error
				if q, err = nfq.OpenMmsg(nfq.Config{Queue: test.taken}); err != nil {
					t.Fatal(err)
				}
				childtest.NFT(t, s.ns, zone)
				if test.mode == vocabulary.GuardOff {
					if out, err := exec.Command("iptables", "-t", "mangle", "-A", "OUTPUT", "-p", "udp", "-j", "NFQUEUE").CombinedOutput(); err != nil {
						t.Skipf("iptables: %v: %s", err, out)
					}
				}
			})
			s.logs("cannot follow", 1)
			time.Sleep(5 * rulesPause)
			s.on(func() {
				if s.gate != first || s.Mode() != test.mode || strings.Count(s.log.String(), "cannot follow") != 1 {
					t.Errorf("the same gate: %t, mode %s:\n%s", s.gate == first, s.Mode(), s.log.String())
				}
				if err := q.Close(); err != nil {
					t.Error(err)
				}
			})
			s.logs("the guard follows the rules again", 1)
			s.on(func() {
				if s.Mode() != vocabulary.GuardHold || !s.Owns(test.taken) {
					t.Errorf("mode %s, queue %d is the gate's: %t", s.Mode(), test.taken, s.Owns(test.taken))
				}
			})
			s.end()
		})
	}
}

// logs waits until a text is in the log as often.
func (s *served) logs(text string, times int) {
	s.t.Helper()
	said := ""
	for until := time.Now().Add(20 * time.Second); strings.Count(said, text) < times; time.Sleep(5 * time.Millisecond) {
		s.on(func() { said = s.log.String() })
		if time.Now().After(until) {
			s.t.Fatalf("%q is not in the log:\n%s", text, said)
		}
	}
}
