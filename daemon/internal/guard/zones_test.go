package guard

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"verdictd/daemon/internal/childtest"
	"verdictd/daemon/internal/exposure"
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
			said := ""
			for until := time.Now().Add(20 * time.Second); !strings.Contains(said, test.said); time.Sleep(5 * time.Millisecond) {
				s.on(func() { said = s.log.String() })
				if time.Now().After(until) {
					t.Fatalf("%q is not in the log:\n%s", test.said, said)
				}
			}
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
