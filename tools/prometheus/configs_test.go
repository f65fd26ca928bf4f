package prometheus

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
)

const root = "../.."

var language = parser.NewParser(parser.Options{})

// exported are the names that the daemon exports, of which docs/metrics.md has the list
// (daemon/internal/metrics holds the two together), and those that Prometheus adds.
func exported(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{"up": true, "process_start_time_seconds": true, "process_cpu_seconds_total": true, "process_resident_memory_bytes": true}
	for _, m := range regexp.MustCompile("(?m)^\\| `(verdictd_\\w+)` \\| (\\w+) ").FindAllStringSubmatch(string(text), -1) {
		names[m[1]] = true
		if m[2] == "histogram" {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				names[m[1]+suffix] = true
			}
		}
	}
	if len(names) < 30 {
		t.Fatalf("docs/metrics.md has %d metrics", len(names))
	}
	return names
}

// check reports what is wrong with a query.
func check(t *testing.T, where, query string, names map[string]bool) {
	t.Helper()
	e, err := language.ParseExpr(query)
	if err != nil {
		t.Errorf("%s: %q: %v", where, query, err)
		return
	}
	parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
		if v, ok := n.(*parser.VectorSelector); ok && !names[v.Name] {
			t.Errorf("%s: nobody exports %s", where, v.Name)
		}
		return nil
	})
}

func rules(t *testing.T) []rulefmt.Rule {
	t.Helper()
	groups, errs := rulefmt.ParseFile(filepath.Join(root, "configs", "prometheus", "verdictd.rules.yaml"), false, model.UTF8Validation, language, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	var list []rulefmt.Rule
	for _, g := range groups.Groups {
		list = append(list, g.Rules...)
	}
	return list
}

func TestAlerts(t *testing.T) {
	names := exported(t)
	for _, r := range rules(t) {
		check(t, r.Alert, r.Expr, names)
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" || r.Labels["severity"] == "" {
			t.Errorf("%s lacks a summary, a description or a severity", r.Alert)
		}
	}
}

// sound is a daemon that is well, a sample each 15 seconds for an hour.
const sound = `
	up{job="verdictd",instance="a"} 1x240
	process_start_time_seconds{job="verdictd",instance="a"} 1000x240
	verdictd_queue_kernel_queue_dropped_total{job="verdictd",instance="a",queue="0"} 0x240
	verdictd_queue_kernel_user_dropped_total{job="verdictd",instance="a",queue="0"} 0x240
	verdictd_queue_oldest_packet_seconds{job="verdictd",instance="a",queue="0"} 0.25 0 0 0.25 0x236
	verdictd_queue_verdict_latency_seconds_bucket{job="verdictd",instance="a",queue="0",le="0.0001"} 0+1000x240
	verdictd_queue_verdict_latency_seconds_bucket{job="verdictd",instance="a",queue="0",le="0.1"} 0+1000x240
	verdictd_queue_verdict_latency_seconds_bucket{job="verdictd",instance="a",queue="0",le="+Inf"} 0+1000x240
	verdictd_stuck_workers{job="verdictd",instance="a"} 0x240
	verdictd_rules_present{job="verdictd",instance="a",owner="verdictd",table="verdictd"} 1x240
	verdictd_rules_restored_total{job="verdictd",instance="a"} 0x240
	verdictd_reload_successful{job="verdictd",instance="a"} 1x240
	verdictd_queue_verdict_errors_total{job="verdictd",instance="a",queue="0"} 0+1x240
	verdictd_gate_unguarded_total{job="verdictd",instance="a"} 0x240
	verdictd_gate_expired_total{job="verdictd",instance="a"} 0x240
	verdictd_gate_settled_elements{job="verdictd",instance="a"} 100x240
	verdictd_gate_settled_elements_limit{job="verdictd",instance="a"} 131072x240
	verdictd_audit_verdict{job="verdictd",instance="a",verdict="not-exposed"} 1x240
`

// bad are the lines that raise each alert; the rest is sound.
var bad = map[string]string{
	"VerdictdDown":            `up 0x240`,
	"VerdictdRestarts":        `process_start_time_seconds 1000+1x240`,
	"VerdictdLosesPackets":    `verdictd_queue_kernel_user_dropped_total 0+5x240`,
	"VerdictdBacklog":         `verdictd_queue_oldest_packet_seconds 2x240`,
	"VerdictdSlow":            `verdictd_queue_verdict_latency_seconds_bucket,le="0.0001" 0x240`,
	"VerdictdStuck":           `verdictd_stuck_workers 1x240`,
	"VerdictdRulesGone":       `verdictd_rules_present 0x240`,
	"VerdictdRulesRestored":   `verdictd_rules_restored_total 0x200 1x40`,
	"VerdictdReloadFailed":    `verdictd_reload_successful 0x240`,
	"VerdictdVerdictsRefused": `verdictd_queue_verdict_errors_total 0+100x240`,
	"VerdictdUnguarded":       `verdictd_gate_unguarded_total 0+1x240`,
	"VerdictdExpired":         `verdictd_gate_expired_total 0+1x240`,
	"VerdictdSettledSetFull":  `verdictd_gate_settled_elements 131000x240`,
	"VerdictdExposed":         `verdictd_audit_verdict,verdict="not-exposed" 0x240`,
}

// load is sound with one change, which names a metric, perhaps a label, and values.
func load(t *testing.T, change string) string {
	t.Helper()
	name, values, _ := strings.Cut(change, " ")
	name, label, _ := strings.Cut(name, ",")
	lines, changed := "load 15s\n", change == ""
	for line := range strings.Lines(strings.TrimPrefix(sound, "\n")) {
		if change != "" && strings.HasPrefix(strings.TrimSpace(line), name+"{") && strings.Contains(line, label) {
			series, _, _ := strings.Cut(line, "} ")
			if strings.HasPrefix(label, "verdict=") {
				series = strings.Replace(series, "not-exposed", "exposed-crash", 1)
				values = "1x240"
			}
			line, changed = series+"} "+values+"\n", true
		}
		lines += line
	}
	if !changed {
		t.Fatalf("no line is changed by %q", change)
	}
	return lines
}

// TestAlertsFire: each one where it should, and no other; none where all is well.
func TestAlertsFire(t *testing.T) {
	list := rules(t)
	if len(list) != len(bad) {
		t.Errorf("%d alerts and %d ways to raise them", len(list), len(bad))
	}
	engine := promqltest.NewTestEngine(t, false, 5*time.Minute, promqltest.DefaultMaxSamplesPerQuery)
	fires := func(change string) (firing []string) {
		storage := promqltest.LoadedStorage(t, load(t, change))
		for _, r := range list {
			// For as long as the alert waits.
			begin, end := time.Unix(3500, 0).Add(-time.Duration(r.For)), time.Unix(3500, 0)
			query, err := engine.NewRangeQuery(t.Context(), storage, nil, r.Expr, begin, end, 15*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			m, err := query.Exec(t.Context()).Matrix()
			if err != nil {
				t.Fatal(err)
			}
			steps := int(end.Sub(begin)/(15*time.Second)) + 1
			if slices.ContainsFunc(m, func(s promql.Series) bool { return len(s.Floats) == steps }) {
				firing = append(firing, r.Alert)
			}
			query.Close()
		}
		return firing
	}
	if firing := fires(""); len(firing) > 0 {
		t.Errorf("all is well, and %v fire", firing)
	}
	for alert, change := range bad {
		if firing := fires(change); !slices.Equal(firing, []string{alert}) {
			t.Errorf("%s: %v fire, want %s alone", change, firing, alert)
		}
	}
}

func TestDashboard(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "configs", "grafana", "verdictd.json"))
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			ID      int
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct {
				Name  string
				Query any
			}
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	names, ids, taken := exported(t), map[int]bool{}, map[string]string{}
	variables := strings.NewReplacer("$__rate_interval", "5m", "$__range", "1h", "$instance", ".*")
	for _, p := range dashboard.Panels {
		if ids[p.ID] || len(p.Targets) == 0 {
			t.Errorf("panel %q has the number of another one, or no query", p.Title)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				place := fmt.Sprint(x, y)
				if other := taken[place]; other != "" && other != p.Title || x >= 24 {
					t.Fatalf("panel %q is over %q, or beyond the edge", p.Title, other)
				}
				taken[place] = p.Title
			}
		}
		for _, target := range p.Targets {
			check(t, p.Title, variables.Replace(target.Expr), names)
		}
	}
	if len(dashboard.Panels) < 15 {
		t.Errorf("%d panels", len(dashboard.Panels))
	}
}
