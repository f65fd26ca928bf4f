package service

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"verdictd/internal/config"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// freeAddress is one on loopback where nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// scrape asks a daemon by HTTP, on this thread, which is in the namespace.
func scrape(address, path string) (answer string, err error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.0\r\n\r\n", path); err != nil {
		return "", err
	}
	b, err := io.ReadAll(c)
	return string(b), err
}

// metric is a metric's value in an answer; 0: it is not there.
func metric(answer, name string) float64 {
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindStringSubmatch(answer)
	if m == nil {
		return 0
	}
	v, _ := strconv.ParseFloat(m[1], 64)
	return v
}

// TestFlood overflows a queue: the log and the metrics tell within two seconds, or where
// others have the CPUs in some more, the worker that is busy is not stuck, and all that was
// sent is accounted for.
func TestFlood(t *testing.T) {
	ns := testkit.Namespace(t)
	cfg := testConfig()
	cfg.Metrics.Listen = freeAddress(t)
	cfg.Guard.Mode, cfg.Queues.MaxLength = vocabulary.GuardOff, 64
	cfg.Analysis = config.Analysis{Distribution: vocabulary.DistributionFixed, Delay: 2 * time.Millisecond, Per: vocabulary.PerPacket}
	cfg.Policy.Rules = []config.Rule{{Name: "flood", Action: vocabulary.Drop, Match: config.Match{DestinationPorts: []config.Ports{{PortRange: vocabulary.Ports(port, port)}}}}}
	cfg.Log.Drops = 5
	d := start(t, ns, cfg)
	out, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	const lost = `verdictd_queue_kernel_queue_dropped_total{queue="0"}`
	began, sent := time.Now(), uint64(0)
	var seen time.Duration
	for time.Since(began) < 20*time.Second && seen == 0 {
		for range 500 {
			if _, err := out.Write([]byte("flood")); err != nil {
				t.Fatal(err)
			}
			sent++
		}
		answer, err := scrape(cfg.Metrics.Listen, "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		if metric(answer, lost) > 0 && d.said.has("packets are lost", "queue_dropped=") {
			seen = time.Since(began)
		}
	}
	t.Logf("loss was seen after %v", seen)
	if seen == 0 {
		t.Error("no loss was seen")
	}
	if live, err := scrape(cfg.Metrics.Listen, "/healthz"); err != nil || !strings.Contains(live, "200 OK") {
		t.Errorf("a busy daemon does not live: %v %s", err, live)
	}
	s := d.stop()
	if got := s.Total.Received + s.Total.QueueDropped + s.Total.UserDropped; got != sent || s.Total.QueueDropped == 0 || s.Total.Dropped != s.Total.Received {
		t.Errorf("%d packets were sent, %d are accounted for: %+v", sent, got, s.Total)
	}
	if s.Rules[0].Name != "flood" || s.Rules[0].Packets != s.Total.Received {
		t.Errorf("counted by rules: %+v", s.Rules)
	}
	if !d.said.has("msg=dropped", "rule=flood", "protocol=udp", "destination=127.0.0.1:5300") {
		t.Error("no dropped packets in the log")
	}
	if !d.said.has("verdicts end", fmt.Sprintf("received=%d", s.Total.Received), fmt.Sprintf("queue_dropped=%d", s.Total.QueueDropped)) {
		t.Error("no totals in the log")
	}
}
