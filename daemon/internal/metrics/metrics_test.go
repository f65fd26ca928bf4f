package metrics

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"verdictd/daemon/internal/audit"
	"verdictd/internal/kernelfacts"
	"verdictd/internal/statistics"
)

var update = flag.Bool("update", false, "write docs/metrics.md")

// spread is one of two times.
func spread() statistics.Spread {
	h := statistics.NewHistogram(time.Minute)
	h.Record(int64(30*time.Microsecond), 3)
	h.Record(int64(20*time.Second), 1)
	h.Swap()
	return h.Spread()
}

// count has every counter of a value be n.
func count(v reflect.Value, n uint64) {
	for _, f := range v.Fields() {
		switch {
		case f.Type() == reflect.TypeFor[statistics.Spread]():
			f.Set(reflect.ValueOf(spread()))
		case f.Kind() == reflect.Struct:
			count(f, n)
		case f.Kind() == reflect.Uint64:
			f.SetUint(n)
		}
	}
}

// full are metrics each of which has a value.
func full() *Metrics {
	d := &statistics.Document{Guard: "hold", Queues: []statistics.QueueVerdicts{{Queue: 7}}, Rules: []statistics.Rule{{Name: "dns", Action: "drop", Packets: 3, LimitShared: 2}}, Samples: &statistics.Samples{Written: 4, Lost: 1}, Sets: []statistics.Set{{Name: "blocked", Type: "names"}}, Gate: &statistics.Gate{}}
	count(reflect.ValueOf(&d.Queues[0]).Elem(), 5)
	count(reflect.ValueOf(&d.Gate.Total).Elem(), 6)
	m := New("v1", func() *statistics.Document { return d })
	m.Audit(audit.NotExposed, []kernelfacts.Finding{{Fact: kernelfacts.Fact{ID: "clash-event-crash"}, Status: kernelfacts.Affected}})
	m.Rules("verdictd", "verdictd", true)
	m.TakenOver(1, 2, 3)
	return m
}

// own are the daemon's own families; Prometheus explains those of Go and of the process.
func own(t *testing.T, m *Metrics) []*dto.MetricFamily {
	t.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, prefix := range []string{"go_", "process_"} {
		n := len(families)
		families = slices.DeleteFunc(families, func(f *dto.MetricFamily) bool { return strings.HasPrefix(f.GetName(), prefix) })
		if len(families) == n {
			t.Errorf("no metrics %s", prefix)
		}
	}
	return families
}

// lines are the values of all metrics as text, without histograms.
func lines(t *testing.T, m *Metrics) map[string]float64 {
	t.Helper()
	values := map[string]float64{}
	for _, f := range own(t, m) {
		for _, metric := range f.Metric {
			name := f.GetName()
			for _, l := range metric.Label {
				name += " " + l.GetName() + "=" + l.GetValue()
			}
			values[name] = metric.GetGauge().GetValue() + metric.GetCounter().GetValue() + float64(metric.GetHistogram().GetSampleCount())
		}
	}
	return values
}

func TestNames(t *testing.T) {
	problems, err := promlint.NewWithMetricFamilies(own(t, full())).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// TestValues: what is counted arrives under the name that operators use.
func TestValues(t *testing.T) {
	m := full()
	m.Reloaded(false)
	m.Rules("operator", "verdictd", false)
	m.Changed()
	m.Restored()
	m.BaseChainsDeleted(3)
	m.Stuck(2)
	got := lines(t, m)
	for name, want := range map[string]float64{
		"verdictd_queue_received_total queue=7":                      5,
		"verdictd_queue_kernel_user_dropped_total queue=7":           5,
		"verdictd_queue_waiting_packets queue=7":                     5,
		"verdictd_queue_verdict_latency_seconds queue=7":             4,
		"verdictd_rule_packets_total action=drop rule=dns":           3,
		"verdictd_gate_unguarded_total":                              6,
		"verdictd_gate_settled_elements":                             6,
		"verdictd_gate_held_seconds":                                 4,
		"verdictd_guard_info mode=hold":                              1,
		"verdictd_audit_verdict verdict=not-exposed":                 1,
		"verdictd_audit_fact fact=clash-event-crash status=affected": 1,
		"verdictd_build_info version=v1":                             1,
		"verdictd_reloads_total result=failure":                      1,
		"verdictd_reloads_total result=success":                      0,
		"verdictd_reload_successful":                                 0,
		"verdictd_rules_present owner=operator table=verdictd":       0,
		"verdictd_rules_restored_total":                              1,
		"verdictd_rules_changed_total":                               1,
		"verdictd_foreign_base_chains_deleted_total":                 3,
		"verdictd_takeovers_total queues=gate":                       2,
		"verdictd_stuck_workers":                                     2,
		"verdictd_gate_max_held_packets":                             6,
		"verdictd_queue_oldest_packet_seconds queue=7":               0,
		"verdictd_queue_kernel_queue_dropped_total queue=7":          5,
		"verdictd_queue_receive_buffer_bytes queue=7":                5,
		"verdictd_gate_kernel_queue_dropped_total":                   6,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s: %v (there: %v), want %v", name, v, ok, want)
		}
	}
}

// TestHistogram: both kinds have all times.
func TestHistogram(t *testing.T) {
	for _, f := range own(t, full()) {
		if f.GetName() != "verdictd_queue_verdict_latency_seconds" {
			continue
		}
		h := f.Metric[0].Histogram
		if h.GetSampleCount() != 4 || h.GetSampleSum() < 20 || h.GetSampleSum() > 20.001 {
			t.Errorf("%d times, %v s", h.GetSampleCount(), h.GetSampleSum())
		}
		for _, b := range h.Bucket {
			want := uint64(0)
			if b.GetUpperBound() >= 50e-6 {
				want = 3 // 20 s are in the bucket of +Inf
			}
			if b.GetCumulativeCount() != want {
				t.Errorf("%d times up to %v, want %d", b.GetCumulativeCount(), b.GetUpperBound(), want)
			}
		}
		var native, last int64
		for _, delta := range h.PositiveDelta {
			last += delta
			native += last
		}
		if native != 4 || h.GetSchema() != schema {
			t.Errorf("%d times in the native histogram of schema %d", native, h.GetSchema())
		}
		return
	}
	t.Error("no histogram of the latency")
}

// TestReference compares docs/metrics.md: go test ./daemon/internal/metrics -run Reference -update writes it.
func TestReference(t *testing.T) {
	const begin = "<!-- made by go test ./daemon/internal/metrics -run Reference -update -->\n"
	path := filepath.Join("..", "..", "..", "docs", "metrics.md")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, _, ok := bytes.Cut(text, []byte(begin))
	if !ok {
		t.Fatalf("%s has no %q", path, begin)
	}
	var want bytes.Buffer
	want.Write(head)
	fmt.Fprint(&want, begin, "| metric | kind | labels | meaning |\n|---|---|---|---|\n")
	for _, f := range own(t, full()) {
		var labels []string
		for _, l := range f.Metric[0].Label {
			labels = append(labels, "`"+l.GetName()+"`")
		}
		fmt.Fprintf(&want, "| `%s` | %s | %s | %s |\n", f.GetName(), strings.ToLower(f.GetType().String()), strings.Join(labels, ", "), f.GetHelp())
	}
	if *update {
		if err := os.WriteFile(path, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(want.Bytes(), text) {
		t.Errorf("%s is not what the metrics are: run this test with -update", path)
	}
}
