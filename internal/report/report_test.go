package report

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"verdictd/internal/statistics"
)

// good is a run of 100 flows of 4 packets in which nothing went wrong.
func good(placement, guard, family string) Run {
	r := Run{
		Placement: placement, Guard: guard, Family: family,
		Fanout: "balance", NAT: NATNone, Traffic: TrafficUDP, Program: ProgramVerdictd, Backend: "mmsg",
		Events: EventsNone,
		Flows:  100, Sent: 400, Delivered: 400, PacketsPerSecond: 5123.4,
		ClashResolve: new(uint64(0)), ChainTooLong: new(uint64(0)), QueuePackets: []uint64{190, 210},
		VerdictLatencyUS: &statistics.Spread{P50: 301.2, P99: 19244.6, Max: 20000},
	}
	switch {
	case placement == PlacementNone:
		r.Fanout, r.Backend, r.QueuePackets, r.VerdictLatencyUS = "none", "none", nil, nil
	case guard == GuardHold:
		r.SetGate(&statistics.GateTotals{GateThread: statistics.GateThread{Flows: statistics.Flows{First: 100,
			Held: 300, Confirmed: 300}}})
	case guard == GuardDrop:
		r.Lost, r.Delivered = 300, 100
		r.SetGate(&statistics.GateTotals{GateThread: statistics.GateThread{Flows: statistics.Flows{First: 100,
			Dropped: 300}}})
	case r.Exposed():
		r.ClashResolve = new(uint64(299))
	}
	r.Rate()
	return r
}

func matrix(runs ...Run) *Report {
	listener := 2
	rep := &Report{
		Schema: Schema, Version: "v1.2.3",
		Host: Host{
			Kernel: "6.18.0-test", Distribution: "Example Linux 9", Architecture: "amd64", CPUs: 2,
			UserNamespace: true, QueueKind: "xt", ConntrackEvents: &listener,
			Versions: map[string]string{"lab": "v1.2.3"},
		},
		Settings: Settings{Flows: 100, Burst: 4, Threads: 2, Queues: 2, Analysis: "fixed 300µs per packet"},
		Started:  time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Seconds: 42,
		Planned: len(runs), Notes: []string{}, Runs: runs,
	}
	rep.Verdict = Judge(rep)
	return rep
}

// masqueraded is a good row of forward behind a masquerading router.
func masqueraded(guard string) Run {
	r := good("forward", guard, "ipv4")
	r.NAT = NATMasquerade
	if guard == GuardOff {
		r.SourcesChanged = 290
	}
	return r
}

// whole is one good row of each sort.
func whole() *Report {
	cpu := good("output", GuardHold, "ipv4")
	cpu.Fanout = "cpu"
	return matrix(good("none", GuardOff, "ipv4"), good("pre-conntrack", GuardOff, "ipv4"),
		good("output", GuardOff, "ipv4"),
		good("output", GuardHold, "ipv4"), good("output", GuardDrop, "ipv4"), cpu)
}

func TestClashes(t *testing.T) {
	for _, tt := range []struct {
		name string
		run  Run
		want uint64
	}{
		{"5.15 and later", Run{ClashResolve: new(uint64(7)), InsertFailed: 5, ChainTooLong: new(uint64(2))}, 10},
		{"5.10", Run{ClashResolve: new(uint64(7)), InsertFailed: 5}, 12},
		{"before 5.10", Run{InsertFailed: 5}, 5},
		{"counters read at different times", Run{ClashResolve: new(uint64(1)), InsertFailed: 1,
			ChainTooLong: new(uint64(2))}, 1},
	} {
		if got := tt.run.Clashes(); got != tt.want {
			t.Errorf("%s: %d clashes, want %d", tt.name, got, tt.want)
		}
	}
	r := Run{Sent: 400, ClashResolve: new(uint64(299))}
	if r.Rate(); r.ClashesPer1000 != 747.5 {
		t.Errorf("%v clashes per 1,000, want 747.5", r.ClashesPer1000)
	}
}

func TestJudgeGood(t *testing.T) {
	v := whole().Verdict
	want := "guard off: up to 747.5 clashes per 1,000 packets (output, ipv4); " +
		"guard hold: 0 clashes, 0 lost, 0 duplicated, 0 reordered in 2 runs (600 packets held); " +
		"guard drop: 0 clashes, 300 of 400 packets dropped in 1 run"
	if !v.OK || v.Line != want || len(v.Failures) != 0 {
		t.Errorf("verdict %+v, want OK and %q", v, want)
	}
}

func TestJudgeMasquerading(t *testing.T) {
	v := matrix(masqueraded(GuardOff), masqueraded(GuardHold)).Verdict
	want := "guard off: up to 747.5 clashes per 1,000 packets (forward, ipv4); " +
		"guard off, masquerading: up to 725.0 per 1,000 packets left from a port that is not their flow's; " +
		"guard hold: 0 clashes, 0 lost, 0 duplicated, 0 reordered in 1 run (300 packets held)"
	if !v.OK || v.Line != want {
		t.Errorf("verdict %+v, want OK and %q", v, want)
	}
}

// What clashes cost in rows without a guard is theirs to show.
func TestJudgeCostOfClashes(t *testing.T) {
	icmp, ends, backends := good("output", GuardOff, "ipv4"), good("forward", GuardOff, "ipv4"),
		good("forward", GuardOff, "ipv4")
	icmp.Traffic, icmp.Lost, icmp.InsertFailed, icmp.ClashResolve = TrafficICMP, 297, 297, new(uint64(0))
	ends.Traffic, ends.Lost = TrafficBothEnds, 2
	backends.NAT, backends.Split, backends.Reordered = NATBackends, 70, 24
	foreign := good("output", GuardHold, "ipv4")
	foreign.Program, foreign.Backend = ProgramGo, "none"
	v := matrix(icmp, ends, backends, foreign).Verdict
	for _, want := range []string{"guard off, two backends: 70 of 100 flows were split",
		"in 1 run, 1 of them before another program (300 packets held)"} {
		if !v.OK || !strings.Contains(v.Line, want) {
			t.Errorf("verdict %+v, want OK and %q", v, want)
		}
	}
}

func TestJudgeNumgenRepliesHaveNoOrder(t *testing.T) {
	r := good("verdict3", GuardHold, "ipv4")
	r.Fanout, r.Echo = FanoutNumgen, &Echo{Sent: 400, Delivered: 400, Reordered: 20}
	if v := matrix(r).Verdict; !v.OK {
		t.Errorf("verdict %+v, where no order of replies is promised", v)
	}
	r.Fanout, r.Reordered = "cpu", 50
	if v := matrix(r).Verdict; v.OK || !strings.Contains(v.Failures[0], "50 packets reordered; 20 replies reordered") {
		t.Errorf("verdict %+v, where order is promised", v)
	}
}

func TestJudgeProvesNothingWithoutClashes(t *testing.T) {
	off := good("output", GuardOff, "ipv4")
	off.ClashResolve = new(uint64(0))
	off.Rate()
	rep := matrix(off, good("output", GuardHold, "ipv4"))
	if v := rep.Verdict; v.OK || !strings.Contains(v.Line, "only 0 of 300 possible clashes") {
		t.Errorf("verdict %+v, where clashes were to be expected", v)
	}
	rep.Host.ClashesUncounted = true
	v := Judge(rep)
	if !v.OK || !strings.Contains(v.Line, "nothing is proved") {
		t.Errorf("verdict %+v, want one that says that nothing is proved", v)
	}
}

func TestJudgeFailures(t *testing.T) {
	for _, tt := range []struct {
		name  string
		run   Run
		spoil func(*Run)
		want  string
	}{
		{"clash behind hold", good("input", GuardHold, "ipv6"), func(r *Run) { r.ClashResolve = new(uint64(2)) },
			"2 clashes behind the guard"},
		{"unresolved clash behind hold", good("input", GuardHold, "ipv6"), func(r *Run) { r.InsertFailed = 1 },
			"1 clashes behind the guard"},
		{"clash behind drop", good("output", GuardDrop, "ipv6"), func(r *Run) { r.ClashResolve = new(uint64(2)) },
			"2 clashes behind the guard"},
		{"lost", good("output", GuardHold, "ipv4"), func(r *Run) { r.Lost, r.QueueDropped = 5, 3 },
			"5 of 400 packets lost (3 dropped on a full queue"},
		{"lost without a guard", good("output", GuardOff, "ipv4"), func(r *Run) { r.Lost = 1 },
			"1 of 400 packets lost"},
		{"lost without a queue", good("none", GuardOff, "ipv4"), func(r *Run) { r.Lost = 1 }, "1 of 400 packets lost"},
		{"lost more than dropped", good("output", GuardDrop, "ipv4"), func(r *Run) { r.Lost++ },
			"301 packets lost, but the guard dropped only 300"},
		{"duplicated", good("output", GuardHold, "ipv4"), func(r *Run) { r.Duplicated = 1 }, "1 packets duplicated"},
		{"reordered", good("output", GuardOff, "ipv4"), func(r *Run) { r.Reordered = 1 }, "1 packets reordered"},
		{"reply lost", good("verdict3", GuardHold, "ipv4"),
			func(r *Run) { r.Echo = &Echo{Sent: 400, Delivered: 398, Lost: 2} }, "2 replies lost"},
		{"reply reordered", good("verdict3", GuardDrop, "ipv4"),
			func(r *Run) { r.Echo = &Echo{Lost: 100, Reordered: 3} }, "3 replies reordered"},
		{"split behind the guard", good("forward", GuardHold, "ipv4"), func(r *Run) { r.NAT, r.Split = NATBackends, 4 },
			"4 flows were split"},
		{"taken for gone", good("forward", GuardHold, "ipv4"), func(r *Run) {
			r.Gate = &statistics.GateTotals{GateThread: statistics.GateThread{Flows: statistics.Flows{Gone: 4}}}
		}, "4 packets waited for a first one"},
		{"expired", good("forward", GuardHold, "ipv4"), func(r *Run) { r.Expired = 4 },
			"4 held packets went on as their time was up"},
		{"unguarded", good("forward", GuardHold, "ipv4"), func(r *Run) { r.Unguarded = 4 },
			"4 packets went on unguarded"},
		{"echo requests lost behind the guard", good("forward", GuardHold, "ipv4"),
			func(r *Run) { r.Traffic, r.Lost = TrafficICMP, 4 }, "4 of 400 packets lost"},
		{"too few clashes", good("forward", GuardOff, "ipv4"), func(r *Run) { r.ClashResolve = new(uint64(149)) },
			"only 149 of 300 possible clashes"},
		{"corrupted", good("output", GuardDrop, "ipv4"), func(r *Run) { r.Corrupted = 1 }, "1 packets corrupted"},
		{"port changed behind the guard", masqueraded(GuardHold), func(r *Run) { r.SourcesChanged = 3 },
			"3 packets left from another address or port"},
		{"port changed without masquerading", good("forward", GuardOff, "ipv4"), func(r *Run) { r.SourcesChanged = 3 },
			"3 packets left from another address or port"},
		{"not all sent", good("output", GuardOff, "ipv4"), func(r *Run) { r.Sent, r.SendErrors = 399, 1 },
			"399 of 400 packets were sent (1 send errors)"},
		{"rule matches nothing", good("output", GuardHold, "ipv4"), func(r *Run) { r.QueuePackets = []uint64{0, 0} },
			"only 0 of 400 packets went through the queue"},
		{"stray clashes before conntrack", good("pre-conntrack", GuardOff, "ipv4"),
			func(r *Run) { r.ClashResolve = new(uint64(2)) }, "5.0 clashes per 1,000 packets, where no more than 4.5"},
		{"taint", good("output", GuardOff, "ipv4"), func(r *Run) { r.Tainted = 0x80 }, "tainted itself (mask 0x80)"},
		{"error", good("output", GuardOff, "ipv4"), func(r *Run) { r.Error = "verdictd was killed by SIGKILL" },
			"verdictd was killed by SIGKILL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			baseline := good("none", GuardOff, "ipv4")
			baseline.ClashResolve = new(uint64(1)) // 2.5 per 1,000
			baseline.Rate()
			tt.spoil(&tt.run)
			tt.run.Rate()
			v := matrix(baseline, tt.run, good("postrouting", GuardHold, "ipv4")).Verdict
			if v.OK || len(v.Failures) != 1 || !strings.Contains(v.Failures[0], tt.want) {
				t.Errorf("verdict %+v, want one failure with %q", v, tt.want)
			}
			if !strings.HasPrefix(v.Line, "FAILED: 1 of 3 runs: "+tt.run.Name()) {
				t.Errorf("line %q does not name the run", v.Line)
			}
		})
	}
}

func TestJudgeTaintFromBefore(t *testing.T) {
	rep := matrix(good("output", GuardOff, "ipv4"))
	rep.Host.Tainted, rep.Runs[0].Tainted = 0x1000, 0x1000
	if v := Judge(rep); !v.OK {
		t.Errorf("verdict %+v: a taint from before the first run is not the runs' doing", v)
	}
}

func TestJudgeIncomplete(t *testing.T) {
	rep := whole()
	rep.Planned, rep.Interrupted = 36, true
	if v := Judge(rep); v.OK || v.Line != "INTERRUPTED after 6 of 36 runs" {
		t.Errorf("verdict %+v of an interrupted matrix", v)
	}
	if v := Judge(matrix()); v.OK {
		t.Errorf("verdict %+v of no runs at all", v)
	}
}

// TestJSONKeys holds the names that scripts rely on.
func TestJSONKeys(t *testing.T) {
	b, err := json.Marshal(whole())
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Schema int
		Host   map[string]any
		Runs   []map[string]any
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Schema != 2 || doc.Host["kernel"] != "6.18.0-test" || len(doc.Runs) != 6 {
		t.Fatalf("schema %d, host %v, %d runs", doc.Schema, doc.Host, len(doc.Runs))
	}
	for i, run := range doc.Runs {
		for key := range strings.FieldsSeq(`placement fanout nat traffic guard program backend events family sent delivered lost duplicated reordered sources_changed received_from
			clash_resolve insert_failed drop clashes_per_1000 held expired unguarded split gate queue_dropped user_dropped verdict_latency_us
			packets_per_second cpu_us_per_packet tainted`) {
			if _, ok := run[key]; !ok {
				t.Errorf("run %d has no %q", i, key)
			}
		}
	}
	latency, _ := doc.Runs[2]["verdict_latency_us"].(map[string]any)
	if latency["p50"] != 301.2 || latency["p99"] != 19244.6 || latency["max"] != 20000.0 {
		t.Errorf("verdict_latency_us %v", latency)
	}
	var back Report
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if v := Judge(&back); v.Line != back.Verdict.Line {
		t.Errorf("judged again from its JSON: %q, before %q", v.Line, back.Verdict.Line)
	}
}

func TestText(t *testing.T) {
	rep := whole()
	rep.Runs[3].Error = "stress failed with exit status 1: no route"
	rep.Notes = []string{"a note"}
	rep.Verdict = Judge(rep)
	var b bytes.Buffer
	if err := WriteText(&b, rep); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, want := range []string{
		"Linux 6.18.0-test, amd64, Example Linux 9, 2 CPUs, in a user namespace (no root), xt queue statement, nf_conntrack_events=2",
		"100 flows, bursts of 4 packets from 2 threads, 2 queues, analysis fixed 300µs per packet",
		"output            queued in mangle OUTPUT",
		"Note: a note",
		"Failed: output ipv4, guard hold, fan-out balance, mmsg: stress failed with exit status 1: no route",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the text has no %q", want)
		}
	}
	rows := regexp.MustCompile(`(?m)^(none|pre-conntrack|output) +(ipv4) .*$`).FindAllString(text, -1)
	want := []string{
		"none ipv4 none none udp off none none 0 0 0 0 0 0 0 - - 5,123",
		"pre-conntrack ipv4 balance none udp off mmsg none 0 0 0 0 0 0 0 301 19,245 5,123",
		"output ipv4 balance none udp off mmsg none 747.5 0 0 0 0 0 0 301 19,245 5,123",
		"output ipv4 balance none udp hold mmsg none error: stress failed with exit status 1: no route",
		"output ipv4 balance none udp drop mmsg none 0 300 0 0 0 0 0 301 19,245 5,123",
		"output ipv4 cpu none udp hold mmsg none 0 0 0 0 0 0 300 301 19,245 5,123",
	}
	if len(rows) != len(want) {
		t.Fatalf("%d rows in the table, want %d:\n%s", len(rows), len(want), text)
	}
	for i := range want {
		if got := strings.Join(strings.Fields(rows[i]), " "); got != want[i] {
			t.Errorf("row %d: %q, want %q", i, got, want[i])
		}
	}
	if lines := strings.Split(strings.TrimSpace(text), "\n"); lines[len(lines)-1] != rep.Verdict.Line {
		t.Errorf("the last line is %q, want the verdict", lines[len(lines)-1])
	}
}

func TestHTML(t *testing.T) {
	rep := whole()
	rep.Runs[3].Error = `verdictd failed: <script>alert("x")</script>`
	rep.Verdict = Judge(rep)
	var b bytes.Buffer
	if err := WriteHTML(&b, rep); err != nil {
		t.Fatal(err)
	}
	html := b.String()
	for _, want := range []string{
		"Linux 6.18.0-test", "FAILED: 1 of 6 runs", "747.5", "19,245",
		"width:74.75%", // the bar of output with the guard off
		"width:76.14%", // the p99 of 19.2 ms between 100 us and 100 ms
		"301 µs / 19.2 ms",
		"output, fan-out cpu",     // a variation has its own heading
		"queued in mangle OUTPUT", // what the row means
		"prefers-color-scheme: dark", "width=device-width",
	} {
		if !strings.Contains(html, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	if strings.Contains(html, "<script") {
		t.Error("text of a program reached the page as markup")
	}
	// Self-contained: nothing on the page makes a browser ask anybody for anything.
	for _, reference := range []string{"http:", "https:", "//", "src=", "href=", "url(", "@import", "<link",
		"<iframe"} {
		if strings.Contains(html, reference) {
			t.Errorf("the page refers to something outside: %q", reference)
		}
	}
	if strings.Contains(html, "ZgotmplZ") {
		t.Error("the template engine refused a value")
	}
}

func TestHTMLGood(t *testing.T) {
	var b bytes.Buffer
	if err := WriteHTML(&b, whole()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), `class="verdict ok"`) || strings.Contains(b.String(), "FAILED") {
		t.Error("a good matrix does not look good")
	}
}

func TestNumbers(t *testing.T) {
	for got, want := range map[string]string{
		count(0): "0", count(999): "999", count(1000): "1,000", count(1234567): "1,234,567",
		rate(0): "0", rate(0.04): "<0.1", rate(2): "2.0", rate(747.53): "747.5",
		micros(2.25): "2.2", micros(301.5): "302", micros(19244): "19,244",
		duration(1): "1 µs", duration(301.2): "301 µs", duration(19244.6): "19.2 ms", duration(1.14e6): "1.14 s",
		duration(999.6): "1 ms", duration(999_600): "1 s",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
