package ct

import (
	"encoding/json"
	"testing"

	"golang.org/x/sys/unix"

	"verdictd/internal/nfnl"
	"verdictd/internal/vocabulary"
)

func TestUndecodableEventsAreCounted(t *testing.T) {
	var counted tallies
	for _, m := range []nfnl.Message{
		{},              // not even a header
		{Type: typeNew}, // without its entry
		{Type: nfnl.Type(unix.NFNL_SUBSYS_CTNETLINK, msgGetStats), Body: make([]byte, nfgenmsgLen)},
		{Type: nfnl.Type(unix.NFNL_SUBSYS_CTNETLINK_EXP, 0), Body: make([]byte, nfgenmsgLen)}, // an expectation
	} {
		counted.add(&m)
	}
	if counts := counted.counts(); counts.Undecodable != 4 || counts.Total != (Tally{}) || len(counts.Protocols) != 0 {
		t.Errorf("counted %+v, want 4 undecodable and no event", counts)
	}
}

func TestEventCountsJSON(t *testing.T) {
	b, err := json.Marshal(EventCounts{
		Total:     Tally{New: 3},
		Protocols: map[vocabulary.Protocol]Tally{17: {New: 1}, 6: {}, 1: {}, 58: {}, 136: {}, 132: {}, 47: {}, 253: {New: 2}},
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
