package testbed

import (
	"testing"

	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
)

// TestTopologyOfPlacements checks where the queue is: on the way, and nowhere else.
func TestTopologyOfPlacements(t *testing.T) {
	testkit.Require(t)
	for p, want := range map[string]int{"none": 1, "output": 1, "postrouting": 1, "input": 2, "verdict3": 2,
		"forward": 3} {
		top, err := NewTopology(p, "ipv4")
		if err != nil {
			t.Fatal(err)
		}
		distinct := map[*netlab.NetNS]bool{top.Sender: true, top.Receiver: true, top.Queue: true}
		if len(distinct) != want {
			t.Errorf("%s: %d namespaces, want %d", p, len(distinct), want)
		}
		if (p == "input" || p == "verdict3") && top.Queue != top.Receiver {
			t.Errorf("%s: the queue is not the receiver's", p)
		}
		if err := top.Close(); err != nil {
			t.Error(err)
		}
	}
}
