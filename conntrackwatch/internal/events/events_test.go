package events

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"verdictd/conntrackwatch/internal/census"
	"verdictd/internal/ct"
	"verdictd/internal/vocabulary"
)

func TestEventsTable(t *testing.T) {
	counts := ct.EventCounts{
		Total:     ct.Tally{New: 1234, Update: 5, Destroy: 6},
		Protocols: map[vocabulary.Protocol]ct.Tally{17: {New: 1230}, 6: {New: 4, Update: 5, Destroy: 6}},
		Lost:      2, LostEvents: ct.Value{N: 99, Sent: true},
		Undecodable: 1,
	}
	const table = "  protocol   new  update  destroy  new a second\n" +
		"       tcp     4       5        6           2.0\n" +
		"       udp  1230       0        0         615.0\n" +
		"     total  1234       5        6         617.0\n"
	const misunderstood = "1 messages were not understood and are in no row\n"
	for number, lost := range map[string]ct.Value{"99": counts.LostEvents, "an unknown number of": {}} {
		counts.LostEvents = lost
		want := table + "in 2.0 s; the kernel dropped " + number +
			" events on 2 occasions as its buffer was full (4096 bytes by now): give more by --receive-buffer\n" + misunderstood
		var b bytes.Buffer
		if err := NewResult("test", counts, 2*time.Second, 4096).WriteText(&b); err != nil || b.String() != want {
			t.Errorf("error %v, got\n%swant\n%s", err, &b, want)
		}
	}
}

func TestFlowsTable(t *testing.T) {
	quantiles := census.Quantiles{Count: 90, P50: 0.5, P90: 1, P99: 2.25, Max: 10}
	s := census.Summary{
		Lifetimes: map[vocabulary.Protocol]census.Quantiles{17: quantiles, 6: quantiles},
		Open:      map[vocabulary.Protocol]census.Quantiles{17: quantiles},
		Talkers: []census.Talker{{Address: netip.MustParseAddr("2001:db8::1"), Flows: 7, Overcount: 2, Packets: 3,
			Bytes: 400}},
		Older: 1, OlderEnded: 2, Untracked: 3,
		Corrections: census.Corrections{Readings: 4, New: 5, Update: 6, Destroy: 7},
	}
	const want = `
  lived  flows   median     90 %     99 %   longest
    tcp     90  0.500 s  1.000 s  2.250 s  10.000 s
    udp     90  0.500 s  1.000 s  2.250 s  10.000 s

  open, for  flows   median     90 %     99 %   longest
        udp     90  0.500 s  1.000 s  2.250 s  10.000 s

      address  flows begun  at most too many  packets  bytes
  2001:db8::1            7                 2        3    400

1 flows were there already
2 flows ended whose beginning was not seen
3 flows found no room to be followed: give more by --flows
after losses the kernel's table was read 4 times: 5 flows had begun, 6 had changed and 7 had ended unseen
`
	var b bytes.Buffer
	if err := writeFlows(&b, &s); err != nil || b.String() != want {
		t.Errorf("error %v, got\n%swant\n%s", err, &b, want)
	}
}
