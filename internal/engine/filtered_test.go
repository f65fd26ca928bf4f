package engine

import (
	"testing"

	"verdictd/internal/nfq"
	"verdictd/internal/reinject"
)

// TestFilteredOnTheWayThrough: a rule drops one copy of a flow that only passes
// through this machine. Where another one came through, that rule drops some
// packets of the flow, and this is one of them; else it may be one of OUTPUT, which
// drops all copies.
func TestFilteredOnTheWayThrough(t *testing.T) {
	forward, post := nfq.Packet{Hook: nfq.HookForward, InDev: 2, OutDev: 3}, nfq.Packet{Hook: nfq.HookPostrouting, InDev: 2, OutDev: 3}
	for name, test := range map[string]struct {
		packet   nfq.Packet
		filtered []byte
		accepted []string
		dropped  []string
	}{
		"forward, the first copy":      {forward, []byte{2}, nil, []string{"drop 2", "drop 3", "drop 4"}},
		"forward, the second copy":     {forward, []byte{3}, nil, []string{"drop 2", "drop 3", "drop 4"}},
		"forward, all of them":         {forward, []byte{2, 3, 4}, []string{"accept 2", "accept 3", "accept 4"}, nil},
		"postrouting, the second copy": {post, []byte{3}, nil, []string{"drop 2", "drop 3", "drop 4"}},
		"postrouting, all of them":     {post, []byte{2, 3, 4}, []string{"accept 2", "accept 3", "accept 4"}, nil},
		"input, the second copy":       {nfq.Packet{Hook: nfq.HookInput, InDev: 2}, []byte{3}, []string{"accept 3"}, []string{"drop 2", "drop 4"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			r.workers[0].guard.prover = &fakeProver{log: &r.log}
			for _, n := range test.filtered {
				r.senders[0].errs[n] = reinject.ErrFiltered
			}
			var packets []nfq.Packet
			for n := range byte(4) {
				p := test.packet
				p.Payload = udp(1, n+1)
				packets = append(packets, p)
			}
			lines, total := r.judge(t, batch(packets...))
			seen := map[string]bool{}
			for _, l := range lines {
				seen[l] = true
			}
			for _, l := range append(append([]string{"accept 1"}, test.accepted...), test.dropped...) {
				if !seen[l] {
					t.Errorf("not: %s", l)
				}
			}
			c := total.Counters
			if int(c.ReinjectFailed) != len(test.accepted) || int(c.Reinjected+c.Filtered) != len(test.dropped) || c.Received != 4 {
				t.Errorf("counters: %+v", c)
			}
		})
	}
}
