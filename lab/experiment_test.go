package main

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"verdictd/internal/config"
	"verdictd/internal/netlab"
	"verdictd/internal/report"
)

func anExperiment(r row) experiment {
	return experiment{
		config: &matrixConfig{Flows: 10, Burst: 4, Threads: 2, Queues: 2, Analysis: analysis{"fixed", 300 * time.Microsecond}},
		row:    r, cpus: []int{0, 1, 2, 3},
	}
}

// TestDaemonConfig writes the file of every row as the lab does and reads it as the daemon does.
func TestDaemonConfig(t *testing.T) {
	for _, r := range defaultRows(true) {
		if !r.queued() {
			continue
		}
		e := anExperiment(r)
		want := e.daemonConfig("/somewhere/statistics.json")
		text, err := yaml.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := config.Parse("verdictd.yaml", text)
		if err != nil {
			t.Fatalf("row %v: %v\n%s", r, err, text)
		}
		if again, err := yaml.Marshal(got); err != nil || string(again) != string(text) {
			t.Errorf("row %v: read back as\n%s, written was\n%s", r, again, text)
		}
		if string(got.Rules.Placement) != r[placement] || string(got.Guard.Mode) != r[guard] || !r.foreign() && string(got.Backend) != r[backend] ||
			string(got.Rules.Fanout) != r[fanout] || got.Analysis.Delay != 300*time.Microsecond || got.Queues.Batch != 1 || !slices.Equal(got.Queues.Pin, []int{0, 1}) {
			t.Errorf("row %v became %+v", r, got)
		}
	}
}

func TestDaemonConfigMakesRoom(t *testing.T) {
	e := anExperiment(plain)
	if got := e.daemonConfig("x").Queues.MaxLength; got != 0 {
		t.Errorf("queue length %d for small bursts, want the kernel's default", got)
	}
	e.config.Burst = 32
	if got := e.daemonConfig("x").Queues.MaxLength; got < outstanding*32 {
		t.Errorf("queue length %d for bursts of 32, want room for %d", got, outstanding*32)
	}
}

func TestBounds(t *testing.T) {
	e := anExperiment(plain.with(map[int]string{guard: "drop"}))
	// 64 flows of 4 packets at 300 microseconds are 77 ms of work for one thread.
	if got := e.flowTimeout(); got < 77*time.Millisecond || got > time.Second {
		t.Errorf("a flow is given up after %v", got)
	}
	if got := e.linger(); got < 577*time.Millisecond {
		t.Errorf("stragglers have %v, want time for what is in the queue", got)
	}
	e.config.Flows = 200_000
	if got, least := e.timeout(), 240*time.Second; got < least {
		t.Errorf("200,000 flows have %v, want at least the %v that one thread takes to judge them", got, least)
	}
}

func TestDaemonConfigTakesBatchesWhereItNeverWaits(t *testing.T) {
	e := anExperiment(plain)
	e.config.Analysis = analysis{Distribution: "none"}
	if got := e.daemonConfig("x").Queues.Batch; got != config.Default().Queues.Batch {
		t.Errorf("batches of %d without an analysis delay, want the default", got)
	}
}

func TestCheckSources(t *testing.T) {
	n := netlab.Networks["ipv4"]
	for name, tt := range map[string]struct {
		nat  string
		from []netip.Addr
		ok   bool
	}{
		"as they were sent":        {"none", n.SourceList(), true},
		"masqueraded":              {"masquerade", []netip.Addr{n.TargetGateway}, true},
		"not masqueraded":          {"masquerade", n.SourceList(), false},
		"not all were masqueraded": {"masquerade", []netip.Addr{n.TargetGateway, n.Sources}, false},
		"masqueraded unasked":      {"none", []netip.Addr{n.TargetGateway}, false},
	} {
		e := anExperiment(plain.with(map[int]string{nat: tt.nat}))
		e.run.ReceivedFrom = tt.from
		if err := e.checkSources(); (err == nil) != tt.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTakeRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, document, want string
		take                 func(*report.Run, []byte) error
	}{
		{"not JSON", "oops", "read the result of stress", takeStress},
		{"another schema", `{"schema":2}`, "has schema 2, and this lab knows 1", takeStress},
		{"no schema", `{}`, "has schema , and this lab knows 1", takeStats},
		{"a key is missing", `{"schema":1,"total":{"insert_failed":0,"drop":0,"chain_toolong":0}}`, `has no "total.clash_resolve"`, takeStats},
		{"no total", `{"schema":1}`, `has no "total.clash_resolve"`, takeStats},
		{"out of time", `{"schema":1,"flows":7,"sent":1,"delivered":1,"lost":0,"duplicated":0,"reordered":0,"corrupted":0,"sources_changed":0,"received_from":[],"split":0,"send_errors":0,"timed_out":true}`,
			"ran out of time after 7 of its flows", takeStress},
		{"yesterday's statistics", `{"schema":1,"queues":[]}`, "has schema 1, and this lab knows 2", takeDaemon},
		{"a gate without its counters", `{"schema":2,"queues":[],"total":{"verdict_errors":0,"queue_dropped":0,"user_dropped":0,"verdict_latency_us":{}},"gate":{"total":{"first":1}},"cpu_us_per_packet":0,"rss_kib":{}}`,
			`has no "gate.total.held"`, takeDaemon},
		{"no gate", `{"schema":2,"queues":[],"total":{"verdict_errors":0,"queue_dropped":0,"user_dropped":0,"verdict_latency_us":{}},"cpu_us_per_packet":0,"rss_kib":{}}`,
			"tell of no gate, with guard hold", func(r *report.Run, b []byte) error { r.Guard, r.Placement = "hold", "output"; return takeDaemon(r, b) }},
		{"no gate of verdictd guard", `{"schema":2,"rss_kib":{}}`, `has no "gate.total"`, takeGuard},
		{"a wrong type", `{"schema":1,"total":{"new":"many","update":0,"destroy":0}}`, "read the result of conntrackwatch events", takeEvents},
	} {
		if err := tt.take(&report.Run{}, []byte(tt.document)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.want)
		}
	}
}

// gateTotal is a gate's counters as verdictd writes them.
const gateTotal = `{"received":15,"first":2,"held":6,"confirmed":5,"gone":1,"dropped":4,"expired":7,"unguarded":8,"listed":3,"vanished":0,
	"queue_dropped":0,"user_dropped":0,"first_us":{"p50":1,"p99":2,"max":3},"held_us":{"p50":4,"p99":5,"max":6}}`

func TestTake(t *testing.T) {
	var got report.Run
	for take, document := range map[*func(*report.Run, []byte) error]string{
		new(takeStress): `{"schema":1,"flows":2,"sent":8,"delivered":7,"lost":1,"duplicated":2,"reordered":3,"corrupted":4,"sources_changed":6,"received_from":["192.0.2.254"],"split":9,"send_errors":5,"seconds":0.5,
			"packets_per_second":14,"receiver_dropped":1,"echo_sent":7,"echo_delivered":6,"echo_lost":1,"echo_duplicated":2,"echo_reordered":3,"echo_corrupted":4}`,
		new(takeStats):  `{"schema":1,"total":{"clash_resolve":3,"insert_failed":2,"drop":1,"chain_toolong":null}}`,
		new(takeEvents): `{"schema":1,"total":{"new":1,"update":2,"destroy":3}}`,
		new(takeDaemon): `{"schema":2,"queues":[{"received":5},{"received":3}],"total":{"verdict_errors":12,"queue_dropped":7,"user_dropped":8,
			"verdict_latency_us":{"p50":1,"p99":2,"max":3}},"gate":{"total":` + gateTotal + `},"cpu_us_per_packet":2.5,"rss_kib":{"start":97,"end":98,"max":99}}`,
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
