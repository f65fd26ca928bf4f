package matrix

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"verdictd/internal/config"
	"verdictd/internal/netlab"
	"verdictd/lab/internal/testbed"
)

func anExperiment(r row) experiment {
	return experiment{
		config: &Config{Flows: 10, Burst: 4, Threads: 2, Queues: 2,
			Analysis: testbed.Analysis{Distribution: "fixed", Delay: 300 * time.Microsecond}},
		row: r, cpus: []int{0, 1, 2, 3},
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
		if string(got.Rules.Placement) != r[placement] || string(got.Guard.Mode) != r[guard] || !r.foreign() &&
			string(got.Backend) != r[backend] ||
			string(got.Rules.Fanout) != r[fanout] || got.Analysis.Delay != 300*time.Microsecond ||
			got.Queues.Batch != 1 || !slices.Equal(got.Queues.Pin, []int{0, 1}) {
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
	if got := e.daemonConfig("x").Queues.MaxLength; got < testbed.Outstanding*32 {
		t.Errorf("queue length %d for bursts of 32, want room for %d", got, testbed.Outstanding*32)
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
	e.config.Analysis = testbed.Analysis{Distribution: "none"}
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
