package testbed

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"verdictd/internal/netlab"
	"verdictd/internal/report"
	"verdictd/internal/statistics"
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
		{"a key is missing", `{"schema":1,"total":{"insert_failed":0,"drop":0,"chain_toolong":0}}`,
			`has no "total.clash_resolve"`, takeStats},
		{"no total", `{"schema":1}`, `has no "total.clash_resolve"`, takeStats},
		{"out of time", `{"schema":1,"flows":7,"sent":1,"delivered":1,"lost":0,"duplicated":0,"reordered":0,"corrupted":0,"sources_changed":0,"received_from":[],"split":0,"send_errors":0,"timed_out":true}`,
			"ran out of time after 7 of its flows", TakeStress},
		{"a wrong type", `{"schema":1,"total":{"new":"many","update":0,"destroy":0}}`,
			"read the result of conntrackwatch events", TakeEvents},
	} {
		if err := tt.take(&report.Run{}, []byte(tt.document)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.want)
		}
	}
}

func TestTakeRefusesStatistics(t *testing.T) {
	text, err := json.Marshal(fakes.Statistics())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, old, with, want string
		take                  func(*report.Run, *statistics.Document) error
	}{
		{"yesterday's", `"schema":2`, `"schema":1`, `have schema "1", and this program knows 2`, TakeDaemon},
		{"a gate without its counters", `"held":6,`, ``, `.held"`, TakeDaemon},
		{"no gate", `"gate":`, `"gate":null,"x":`, "unknown field", TakeDaemon},
	} {
		file := filepath.Join(t.TempDir(), "statistics.json")
		if err := os.WriteFile(file, []byte(strings.Replace(string(text), tt.old, tt.with, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := ReadStatistics(file)
		if err == nil {
			err = tt.take(&report.Run{}, d)
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.want)
		}
	}
	d := fakes.Statistics()
	d.Gate = nil
	const want = "tell of no gate"
	if err := TakeDaemon(&report.Run{Guard: "hold", Placement: "output"}, d); err == nil ||
		!strings.Contains(err.Error(), want+", with guard hold") {
		t.Errorf("no gate: error %v", err)
	}
	if err := TakeGuard(&report.Run{}, d); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("no gate of verdictd guard: error %v", err)
	}
	if err := TakeDaemon(&report.Run{}, &statistics.Document{}); err == nil {
		t.Error("no queue, and no error")
	}
}

func TestTake(t *testing.T) {
	var got report.Run
	for take, document := range map[*func(*report.Run, []byte) error]string{
		new(TakeStress): `{"schema":1,"flows":2,"sent":8,"delivered":7,"lost":1,"duplicated":2,"reordered":3,"corrupted":4,"sources_changed":6,"received_from":["192.0.2.254"],"split":9,"send_errors":5,"seconds":0.5,
			"packets_per_second":14,"receiver_dropped":1,"echo_sent":7,"echo_delivered":6,"echo_lost":1,"echo_duplicated":2,"echo_reordered":3,"echo_corrupted":4}`,
		new(takeStats):  `{"schema":1,"total":{"clash_resolve":3,"insert_failed":2,"drop":1,"chain_toolong":null}}`,
		new(TakeEvents): `{"schema":1,"total":{"new":1,"update":2,"destroy":3}}`,
	} {
		if err := (*take)(&got, []byte(document)); err != nil {
			t.Fatal(err)
		}
	}
	daemon := fakes.Statistics()
	daemon.Total.VerdictErrors, daemon.Total.QueueDropped, daemon.Total.UserDropped = 12, 7, 8
	if err := TakeDaemon(&got, daemon); err != nil {
		t.Fatal(err)
	}
	one, three, events, cpu := uint64(1), uint64(3), uint64(6), 2.5
	want := report.Run{
		Flows: 2, Sent: 8, Delivered: 7, Lost: 1, Duplicated: 2, Reordered: 3, Corrupted: 4, SourcesChanged: 6,
		ReceivedFrom: []netip.Addr{netlab.Networks["ipv4"].TargetGateway}, SendErrors: 5, Seconds: 0.5,
		PacketsPerSecond: 14,
		ReceiverDropped:  &one, Echo: &report.Echo{Sent: 7, Delivered: 6, Lost: 1, Duplicated: 2, Reordered: 3,
			Corrupted: 4},
		ClashResolve: &three, InsertFailed: 2, Drop: 1, EventsSeen: &events,
		QueuePackets: []uint64{25, 15}, VerdictErrors: 12, Held: 6, Expired: 7, Unguarded: 8, Split: 9,
		Gate: &daemon.Gate.Total, QueueDropped: 7, UserDropped: 8,
		VerdictLatencyUS: &statistics.Spread{P50: 301.5, P99: 1200, Max: 1300}, CPUUSPerPacket: &cpu,
		RSSKiB: &statistics.Memory{Start: 1, End: 2, Max: 3},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("took %+v\nwant %+v", got, want)
	}
}
