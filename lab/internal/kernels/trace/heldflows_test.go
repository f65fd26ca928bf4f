package trace

import (
	"net/netip"
	"testing"

	"verdictd/internal/ct"
	"verdictd/internal/testkit"
)

// The load has to make the clashes that it promises, or what is checked against it proves nothing.
func TestHeldFlows(t *testing.T) {
	for name, h := range map[string]heldFlows{
		"one queue":          {address: netip.MustParseAddr("127.0.0.1"), flows: 20, packets: 4, queues: 1},
		"two queues, IPv6":   {address: netip.IPv6Loopback(), flows: 20, packets: 3, queues: 2},
		"left when divided":  {address: netip.MustParseAddr("127.0.0.1"), flows: 5, packets: 3, queues: 2},
		"one packet a flow":  {address: netip.MustParseAddr("127.0.0.1"), flows: 5, packets: 1, queues: 1},
		"more queues than 2": {address: netip.MustParseAddr("127.0.0.1"), flows: 8, packets: 4, queues: 4},
	} {
		t.Run(name, func(t *testing.T) {
			ns := testkit.Namespace(t)
			conn, err := ct.Dial()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			r, err := h.run(ns)
			if err != nil {
				t.Fatal(err)
			}
			if r.delivered != h.flows*h.packets || len(r.sources) != h.flows {
				t.Errorf("%d packets from %d flows arrived", r.delivered, len(r.sources))
			}
			after, err := conn.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			want := uint64(h.flows * (h.packets - 1))
			if got := after.Total()[ct.ClashResolve]; testkit.CountsClashes(t) && got.N != want {
				t.Errorf("%v clashes, want %d", got, want)
			}
		})
	}
}
