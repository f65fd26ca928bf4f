package service

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"verdictd/internal/testkit"
)

// TestMetrics serves what the daemon counts while it runs, and whether it is ready.
func TestMetrics(t *testing.T) {
	ns := testkit.Namespace(t)
	cfg := testConfig()
	cfg.Metrics.Listen = freeAddress(t)
	d := start(t, ns, cfg)
	if arrived := burst(t, netip.MustParseAddr("127.0.0.1"), 5); arrived != 20 {
		t.Errorf("%d of 20 packets arrived", arrived)
	}
	answer, err := scrape(cfg.Metrics.Listen, "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`verdictd_guard_info{mode="hold"} 1`, `verdictd_audit_verdict{verdict="`,
		`verdictd_audit_fact{fact="clash-event-crash",status="`, `verdictd_build_info{version="devel"} 1`,
		`verdictd_queue_received_total{queue="0"} 20`, `verdictd_queue_accepted_total{queue="0"} 20`,
		`verdictd_rule_packets_total{action="accept",rule="default"} 20`,
		`verdictd_queue_verdict_latency_seconds_count{queue="0"} 20`,
		`verdictd_gate_received_total 20`, `verdictd_gate_first_total 5`, `verdictd_gate_settled_elements_limit 131072`,
		`verdictd_rules_present{owner="verdictd",table="verdictd"} 1`, `verdictd_stuck_workers 0`,
		`verdictd_queue_receive_buffer_bytes{queue="0"} `, `verdictd_reload_successful 1`, `process_cpu_seconds_total`,
	} {
		if !strings.Contains(answer, want) {
			t.Errorf("no %s in:\n%s", want, answer)
		}
	}
	if ready, err := scrape(cfg.Metrics.Listen, "/readyz"); err != nil || !strings.Contains(ready, "200 OK") {
		t.Errorf("not ready: %v %s", err, ready)
	}
	d.stop()
	if _, err := net.Dial("tcp", cfg.Metrics.Listen); err == nil {
		t.Error("metrics are served after the stop")
	}
}
