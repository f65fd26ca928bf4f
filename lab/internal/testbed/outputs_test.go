package testbed

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"verdictd/internal/netlab"
	"verdictd/internal/report"
	"verdictd/lab/internal/fakes"
)

func TestTakeRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, document, want string
		take                 func(*report.Run, []byte) error
	}{
		{"not JSON", "oops", "read the result of stress", TakeStress},
		{"another schema", `{"schema":2}`, "has schema 2, and this lab knows 1", TakeStress},
		{"no schema", `{}`, "has schema , and this lab knows 1", takeStats},
		{"a key is missing", `{"schema":1,"total":{"insert_failed":0,"drop":0,"chain_toolong":0}}`, `has no "total.clash_resolve"`, takeStats},
		{"no total", `{"schema":1}`, `has no "total.clash_resolve"`, takeStats},
		{"out of time", `{"schema":1,"flows":7,"sent":1,"delivered":1,"lost":0,"duplicated":0,"reordered":0,"corrupted":0,"sources_changed":0,"received_from":[],"split":0,"send_errors":0,"timed_out":true}`,
			"ran out of time after 7 of its flows", TakeStress},
		{"yesterday's statistics", `{"schema":1,"queues":[]}`, "has schema 1, and this lab knows 2", TakeDaemon},
		{"a gate without its counters", `{"schema":2,"queues":[],"total":{"verdict_errors":0,"queue_dropped":0,"user_dropped":0,"verdict_latency_us":{}},"gate":{"total":{"first":1}},"cpu_us_per_packet":0,"rss_kib":{}}`,
			`has no "gate.total.held"`, TakeDaemon},
		{"no gate", `{"schema":2,"queues":[],"total":{"verdict_errors":0,"queue_dropped":0,"user_dropped":0,"verdict_latency_us":{}},"cpu_us_per_packet":0,"rss_kib":{}}`,
			"tell of no gate, with guard hold", func(r *report.Run, b []byte) error { r.Guard, r.Placement = "hold", "output"; return TakeDaemon(r, b) }},
		{"no gate of verdictd guard", `{"schema":2,"rss_kib":{}}`, `has no "gate.total"`, TakeGuard},
		{"a wrong type", `{"schema":1,"total":{"new":"many","update":0,"destroy":0}}`, "read the result of conntrackwatch events", TakeEvents},
	} {
		if err := tt.take(&report.Run{}, []byte(tt.document)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.want)
		}
	}
}

func TestTake(t *testing.T) {
	var got report.Run
	for take, document := range map[*func(*report.Run, []byte) error]string{
		new(TakeStress): `{"schema":1,"flows":2,"sent":8,"delivered":7,"lost":1,"duplicated":2,"reordered":3,"corrupted":4,"sources_changed":6,"received_from":["192.0.2.254"],"split":9,"send_errors":5,"seconds":0.5,
			"packets_per_second":14,"receiver_dropped":1,"echo_sent":7,"echo_delivered":6,"echo_lost":1,"echo_duplicated":2,"echo_reordered":3,"echo_corrupted":4}`,
		new(takeStats):  `{"schema":1,"total":{"clash_resolve":3,"insert_failed":2,"drop":1,"chain_toolong":null}}`,
		new(TakeEvents): `{"schema":1,"total":{"new":1,"update":2,"destroy":3}}`,
		new(TakeDaemon): `{"schema":2,"queues":[{"received":5},{"received":3}],"total":{"verdict_errors":12,"queue_dropped":7,"user_dropped":8,
			"verdict_latency_us":{"p50":1,"p99":2,"max":3}},"gate":{"total":` + fakes.GateTotal + `},"cpu_us_per_packet":2.5,"rss_kib":{"start":97,"end":98,"max":99}}`,
	} {
		if err := (*take)(&got, []byte(document)); err != nil {
			t.Fatal(err)
		}
	}
	one, three, events, cpu := uint64(1), uint64(3), uint64(6), 2.5
	want := report.Run{
		Flows: 2, Sent: 8, Delivered: 7, Lost: 1, Duplicated: 2, Reordered: 3, Corrupted: 4, SourcesChanged: 6, ReceivedFrom: []netip.Addr{netlab.Networks["ipv4"].TargetGateway}, SendErrors: 5, Seconds: 0.5, PacketsPerSecond: 14,
		ReceiverDropped: &one, Echo: &report.Echo{Sent: 7, Delivered: 6, Lost: 1, Duplicated: 2, Reordered: 3, Corrupted: 4},
		ClashResolve: &three, InsertFailed: 2, Drop: 1, EventsSeen: &events,
		QueuePackets: []uint64{5, 3}, VerdictErrors: 12, Held: 6, Expired: 7, Unguarded: 8, Split: 9,
		Gate:         &report.Gate{Received: 15, First: 2, Held: 6, Confirmed: 5, Gone: 1, Dropped: 4, Expired: 7, Unguarded: 8, Listed: 3, FirstUS: report.Latency{P50: 1, P99: 2, Max: 3}, HeldUS: report.Latency{P50: 4, P99: 5, Max: 6}},
		QueueDropped: 7, UserDropped: 8, VerdictLatencyUS: &report.Latency{P50: 1, P99: 2, Max: 3}, CPUUSPerPacket: &cpu, RSSKiB: &report.Memory{Start: 97, End: 98, Max: 99},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("took %+v\nwant %+v", got, want)
	}
}
