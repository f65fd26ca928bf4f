package service

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"verdictd/internal/testkit"
)

// TestMetrics serves the audit and the guard's mode while the daemon runs.
func TestMetrics(t *testing.T) {
	ns := testkit.Namespace(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	cfg := testConfig()
	cfg.Metrics.Listen = address
	d := start(t, ns, cfg)
	var body []byte
	get := func() error {
		c, err := net.Dial("tcp", address) // on this thread, which is in the namespace
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		if _, err := fmt.Fprintf(c, "GET /metrics HTTP/1.0\r\n\r\n"); err != nil {
			return err
		}
		body, err = io.ReadAll(c)
		return err
	}
	if err := get(); err != nil {
		t.Fatal(err)
	}
	d.stop()
	for _, want := range []string{
		`verdictd_guard_info{mode="hold"} 1`, `verdictd_audit_verdict{verdict="`,
		`verdictd_audit_fact{fact="clash-event-crash",status="`, `verdictd_build_info{version="devel"} 1`,
	} {
		if !strings.Contains(string(body), want) {
			t.Errorf("no %s in:\n%s", want, body)
		}
	}
	if err := get(); err == nil {
		t.Error("metrics are served after the stop")
	}
}
