package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"verdictd/internal/cli"
	"verdictd/internal/ct"
	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
	"verdictd/internal/traffic"
)

func TestEventsJSON(t *testing.T) {
	testkit.Namespace(t)
	const flows = 100
	got := watch(t, flows, "events", "--json")
	if got.status != cli.Done {
		t.Fatalf("status %d, stderr %q", got.status, got.stderr)
	}
	if !strings.Contains(got.stderr, "exposure") {
		t.Errorf("stderr %q does not warn that listening takes part in the exposure", got.stderr)
	}
	var r struct {
		Schema        int
		Version       string
		Seconds       float64
		ReceiveBuffer int `json:"receive_buffer"`
		Total         map[string]uint64
		Protocols     map[string]map[string]uint64
		Lost          *uint64
	}
	if err := json.Unmarshal([]byte(got.stdout), &r); err != nil {
		t.Fatalf("%s: %v", got.stdout, err)
	}
	if r.Schema != 1 || r.Version != version || r.Seconds <= 0 || r.ReceiveBuffer <= 0 {
		t.Errorf("schema %d, version %q, %v seconds, buffer %d", r.Schema, r.Version, r.Seconds, r.ReceiveBuffer)
	}
	if r.Total["new"] != flows || r.Protocols["udp"]["new"] != flows || r.Lost == nil || *r.Lost != 0 {
		t.Errorf("%s: want %d new, all of them udp, and no loss", got.stdout, flows)
	}
}

func TestEventsText(t *testing.T) {
	testkit.Namespace(t)
	got := watch(t, 100, "events")
	if got.status != cli.Done || !regexp.MustCompile(`(?m)^ +udp +100 +0 +0 +\d`).MatchString(got.stdout) {
		t.Errorf("status %d, want a row of 100 new udp entries:\n%s", got.status, got.stdout)
	}
	if !strings.Contains(got.stdout, "no event was lost") {
		t.Errorf("says nothing of losses:\n%s", got.stdout)
	}
}

// clash sends new flows through a namespace and returns the ledger.
func clash(t *testing.T, ns *netlab.NetNS, flows, burst int) *traffic.ClashResult {
	t.Helper()
	cfg := traffic.DefaultClash()
	cfg.Flows, cfg.Burst, cfg.SenderNetns, cfg.ReceiverNetns = flows, burst, ns.Path(), ns.Path()
	cfg.Pace = traffic.Pace{Rate: 20000}
	res, err := traffic.RunClash(t.Context(), cfg, nil)
	if err != nil {
		t.Error(err)
		return &traffic.ClashResult{}
	}
	return res
}

// TestEventsEqualTheLedger holds each way to count against what stress sent: nothing may be lost.
func TestEventsEqualTheLedger(t *testing.T) {
	for _, way := range [][]string{{"--count"}, {},
		{"--count", "--protocol", "udp", "--family", "ipv4", "--zone", "0", "--mark", "0"}} {
		ns := testkit.Namespace(t)
		const flows = 4000
		var ledger *traffic.ClashResult
		got := during(t, func() { ledger = clash(t, ns, flows, 2) }, append([]string{"events", "--json"}, way...)...)
		var r struct {
			Total      ct.Tally
			Lost       uint64
			LostEvents *uint64 `json:"lost_events"`
		}
		if err := json.Unmarshal([]byte(got.stdout), &r); err != nil {
			t.Fatalf("%v: %s: %v", way, got.stdout, err)
		}
		if got.status != cli.Done || ledger.Flows != flows || ledger.Lost != 0 {
			t.Errorf("%v: status %d, ledger %+v", way, got.status, ledger)
		}
		r.Total.Destroy = 0 // a busy machine takes longer than the 30 s after which conntrack forgets a flow
		if r.Total != (ct.Tally{New: ledger.Flows}) || r.Lost != 0 || r.LostEvents == nil || *r.LostEvents != 0 {
			t.Errorf("%v: %s: want %d new and nothing lost", way, got.stdout, ledger.Flows)
		}
	}
}

// stalled is an output whose reader takes nothing until it is told to.
type stalled struct {
	*io.PipeWriter
	lines chan []string
	start chan struct{}
}

func newStalled() *stalled {
	r, w := io.Pipe()
	s := &stalled{w, make(chan []string, 1), make(chan struct{})}
	go func() {
		<-s.start
		var lines []string
		for scan := bufio.NewScanner(r); scan.Scan(); {
			lines = append(lines, scan.Text())
		}
		s.lines <- lines
	}()
	return s
}

// conntrackEvents is the output of conntrack -E, which ends with the test.
func conntrackEvents(t *testing.T, program string) *os.File {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = read.Close() })
	conntrack := exec.Command(program, "-E", "-b", "16384")
	conntrack.Stdout = write
	if err := conntrack.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conntrack.Process.Kill()
		_ = conntrack.Wait()
	})
	if err := write.Close(); err != nil {
		t.Fatal(err)
	}
	return read
}

// TestEventsSayWhatWasLost has both this program and conntrack -E write to somebody who does not read, until the kernel
// must drop events: this one says how many.
func TestEventsSayWhatWasLost(t *testing.T) {
	program, err := exec.LookPath("conntrack")
	if err != nil {
		t.Skipf("no conntrack on this machine: %v", err)
	}
	ns := testkit.Namespace(t)
	read := conntrackEvents(t, program)

	const flows = 3000
	out := newStalled()
	var ledger *traffic.ClashResult
	var stderr bytes.Buffer
	status := runDuring(t, func() {
		testkit.AwaitListeners(t, ns, 2)
		ledger = clash(t, ns, flows, 1)
		close(out.start)
	}, output{out, &stderr}, "events", "--format", "table", "--receive-buffer", "16384", "--max-receive-buffer", "16384")
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	lines := <-out.lines
	if status != cli.Done || ledger.Flows != flows {
		t.Fatalf("status %d, %d flows sent; stderr %s", status, ledger.Flows, &stderr)
	}
	told := regexp.MustCompile(`in [0-9.]+ s; the kernel dropped (\d+) events on \d+ occasions`).FindStringSubmatch(stderr.String())
	if told == nil || !strings.Contains(stderr.String(), "events between ") {
		t.Fatalf("stderr does not say what was lost, and when: %s", &stderr)
	}
	var lost int
	if err := json.Unmarshal([]byte(told[1]), &lost); err != nil {
		t.Fatal(err)
	}
	if len(lines)+lost != flows || lost == 0 {
		t.Errorf("%d events written, %d lost by its own account; %d flows were made", len(lines), lost, flows)
	}
	t.Logf("%d events written, %d lost", len(lines), lost)

	if err := read.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for scan := bufio.NewScanner(read); scan.Scan(); {
		seen++
	}
	if seen >= flows {
		t.Errorf("conntrack -E saw %d of %d flows: this was no overload", seen, flows)
	}
}

func TestEventLines(t *testing.T) {
	testkit.Namespace(t)
	const flows = 20
	table := watch(t, flows, "events", "--format", "table", "--type", "new")
	line := regexp.MustCompile(`^ {4}\[NEW\] udp      17 \d+ src=127\.0\.0\.1 dst=127\.0\.0\.1 sport=\d+ dport=20\d+ \[UNREPLIED\] src=127\.0\.0\.1 dst=127\.0\.0\.1 sport=20\d+ dport=\d+$`)
	lines := strings.Split(strings.TrimSuffix(table.stdout, "\n"), "\n")
	for _, l := range lines {
		if !line.MatchString(l) {
			t.Errorf("line %q", l)
		}
	}
	if len(lines) != flows || !strings.Contains(table.stderr, "no event was lost") {
		t.Errorf("%d lines, stderr %s; want %d and the counts", len(lines), table.stderr, flows)
	}

	rows, err := csv.NewReader(strings.NewReader(watch(t, flows, "events", "--format", "csv").stdout)).ReadAll()
	if err != nil || len(rows) != flows+1 {
		t.Fatalf("%d rows of CSV, %v; want a header and %d", len(rows), err, flows)
	}
	if rows[0][1] != "type" || rows[1][1] != "new" || rows[0][6] != "dport" || !strings.HasPrefix(rows[1][6], "20") {
		t.Errorf("CSV begins with %q", rows[:2])
	}

	objects := json.NewDecoder(strings.NewReader(watch(t, flows, "events", "--format", "json").stdout))
	for n := 0; ; n++ {
		var o struct {
			Time     time.Time
			Type     string
			Protocol string
			Orig     struct {
				Src, Dst     string
				Sport, Dport int
			}
			Reply struct {
				Src, Dst     string
				Sport, Dport int
			}
			ID uint32
		}
		if err := objects.Decode(&o); err == io.EOF {
			if n != flows {
				t.Errorf("%d objects, want %d", n, flows)
			}
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if o.Type != "new" || o.Protocol != "udp" || o.Orig.Dport != o.Reply.Sport || o.ID == 0 || o.Time.IsZero() {
			t.Errorf("object %d: %+v", n, o)
		}
	}
}

func TestEventsFollowFlows(t *testing.T) {
	testkit.Namespace(t)
	const flows = 30
	var r struct {
		Flows struct {
			Open    map[string]struct{ Count uint64 } `json:"open_seconds"`
			Talkers []struct {
				Address string
				Flows   uint64
			}
		}
	}
	got := watch(t, flows, "events", "--json")
	if err := json.Unmarshal([]byte(got.stdout), &r); err != nil {
		t.Fatal(err)
	}
	if r.Flows.Open["udp"].Count != flows || len(r.Flows.Talkers) != 1 || r.Flows.Talkers[0].Flows != flows ||
		r.Flows.Talkers[0].Address != "127.0.0.1" {
		t.Errorf("%s: want %d open flows, all of 127.0.0.1", got.stdout, flows)
	}
}

func TestEventSamples(t *testing.T) {
	testkit.Namespace(t)
	some := func(stdout string) bool {
		return len(regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d +0 +0 +0 +0$`).FindAllString(stdout, -1)) >= 2
	}
	got := commandUntil(t, some, "events", "--count", "--interval", "50ms")
	if got.status != cli.Done || !some(got.stdout) {
		t.Errorf("%+v: want some samples", got)
	}
}
