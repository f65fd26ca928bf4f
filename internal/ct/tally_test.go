package ct

import (
	"encoding/json"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

func TestUndecodableEventsAreCounted(t *testing.T) {
	var counts EventCounts
	for _, m := range []netlink.Message{
		{}, // not even a header
		{Header: netlink.Header{Type: ctnetlinkType(msgGetStats)}, Data: make([]byte, nfgenmsgLen)},
		{Header: netlink.Header{Type: unix.NFNL_SUBSYS_CTNETLINK_EXP << 8}, Data: make([]byte, nfgenmsgLen)}, // an expectation
	} {
		counts.add(m)
	}
	if counts.Undecodable != 3 || counts.Total != (Tally{}) || len(counts.Protocols) != 0 {
		t.Errorf("counted %+v, want 3 undecodable and no event", counts)
	}
}

func TestEventCountsJSON(t *testing.T) {
	b, err := json.Marshal(EventCounts{
		Total:     Tally{New: 3},
		Protocols: map[Protocol]Tally{17: {New: 1}, 6: {}, 1: {}, 58: {}, 136: {}, 132: {}, 47: {}, 253: {New: 2}},
		Lost:      1,
	})
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Total      map[string]uint64
		Protocols  map[string]map[string]uint64
		Lost       uint64
		LostEvents *uint64 `json:"lost_events"`
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	for _, name := range []string{"udp", "tcp", "icmp", "icmpv6", "udplite", "sctp", "gre", "253"} {
		if tally, ok := got.Protocols[name]; !ok || len(tally) != 3 {
			t.Errorf("%s is %v in %s, want three counts", name, tally, b)
		}
	}
	if got.Protocols["253"]["new"] != 2 || got.Total["new"] != 3 || got.Lost != 1 || got.LostEvents != nil {
		t.Errorf("%s: want 2 new of 253, 3 in total, 1 loss, and null for the unknown number of lost events", b)
	}
}
