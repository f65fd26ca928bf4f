package record

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"verdictd/internal/crash"
	"verdictd/internal/testkit"
	"verdictd/internal/traffic"
)

// watched is an open result with a log to write to.
func watched(t *testing.T, path string) (r *Record, log string, stderr *bytes.Buffer) {
	t.Helper()
	log = filepath.Join(t.TempDir(), "console")
	if err := os.WriteFile(log, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	stderr = &bytes.Buffer{}
	r, err := Config{Scenario: "clash", Path: path, Stdout: &bytes.Buffer{}, Stderr: stderr, KernelLog: log}.Open()
	if err != nil {
		t.Fatal(err)
	}
	return r, log, stderr
}

func readResult(t *testing.T, path string) map[string]any {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var document map[string]any
	if err := json.Unmarshal(b, &document); err != nil {
		t.Fatalf("%v in:\n%s", err, b)
	}
	return document
}

// What was measured is in the file before the next step, in case that one ends the machine.
func TestFlush(t *testing.T) {
	path := filepath.Join(t.TempDir(), "result.json")
	r, log, stderr := watched(t, path)
	if got := readResult(t, path); got["incomplete"] != true || got["scenario"] != "clash" || got["taint_before"] == nil {
		t.Errorf("before the run: %v", got)
	}
	type part struct {
		Sent int `json:"sent"`
	}
	if err := r.Flush(&part{Sent: 7}); err != nil {
		t.Fatal(err)
	}
	if got := readResult(t, path); got["incomplete"] != true || got["sent"] != 7.0 {
		t.Errorf("after a step: %v", got)
	}
	// A report is written as soon as it is seen: the machine may have no later.
	if err := os.WriteFile(log, []byte(testkit.KnownOops), 0o600); err != nil {
		t.Fatal(err)
	}
	seen := func() bool { reports, _ := readResult(t, path)["kernel_reports"].([]any); return len(reports) == 1 }
	for end := time.Now().Add(time.Minute); !seen() && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
	if got := readResult(t, path); !seen() || got["sent"] != 7.0 || got["incomplete"] != true {
		t.Errorf("after a report: %v", got)
	}
	err := r.Write("clash", &part{Sent: 9}, func(io.Writer) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "nf_ct_deliver_cached_events") ||
		!strings.Contains(stderr.String(), "THE KERNEL REPORTS") {
		t.Errorf("%v, %s", err, stderr)
	}
	if got := readResult(t, path); got["incomplete"] != nil || got["sent"] != 9.0 {
		t.Errorf("at the end: %v", got)
	}
}

// What a run tells on its way is in the file, and shown as before.
func TestProgressIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "result.json")
	r, _, _ := watched(t, path)
	shown := 0
	told := r.Keep(&struct{}{}, func(traffic.Progress) { shown++ })
	begun := time.Now()
	told(traffic.Progress{Flows: 5, Counts: traffic.Counts{Delivered: 20}})
	told(traffic.Progress{Flows: 6}) // too soon to be written
	soon := time.Since(begun) < watchInterval
	if got := readResult(t, path); soon && (got["flows"] != 5.0 || got["delivered"] != 20.0) || got["incomplete"] != true ||
		shown != 2 {
		t.Errorf("%v, shown %d times", got, shown)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// A run without a result leaves what it had, and still tells what the kernel did.
func TestCloseTells(t *testing.T) {
	path := filepath.Join(t.TempDir(), "result.json")
	r, log, _ := watched(t, path)
	if err := os.WriteFile(log, []byte(testkit.UnknownOops), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err == nil || !strings.Contains(err.Error(), "the kernel broke") {
		t.Errorf("%v", err)
	}
	if got := readResult(t, path); got["incomplete"] != true || len(got["kernel_reports"].([]any)) != 1 {
		t.Errorf("%v", got)
	}
}

// Taint alone is a failure as well, in words.
func TestTaintIsDescribed(t *testing.T) {
	f := &crash.Findings{TaintBefore: 1 << 12, TaintAfter: 1<<12 | 1<<9}
	if got := describeFindings(f); !f.Broken() || !strings.Contains(got, "taint 0x1000 became 0x1200 (W: ") {
		t.Error(got)
	}
	var b bytes.Buffer
	if err := summarizeKernel(&b, f); err != nil || !strings.Contains(b.String(), "THE KERNEL BROKE") {
		t.Errorf("%v %s", err, &b)
	}
	b.Reset()
	if err := summarizeKernel(&b, &crash.Findings{}); err != nil || b.Len() > 0 {
		t.Errorf("%v %q, want silence about a sound kernel", err, &b)
	}
	encoded, err := json.Marshal(&crash.Findings{Reports: []crash.Report{}})
	if err != nil || string(encoded) != `{"taint_before":0,"taint_after":0,"kernel_reports":[]}` {
		t.Errorf("%s, %v", encoded, err)
	}
}
