package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"verdictd/internal/cli"
	"verdictd/internal/crash"
	"verdictd/internal/testkit"
	"verdictd/internal/traffic"
)

// knownOops is what a kernel prints that delivers events from a freed entry.
const knownOops = `[  100.000001] BUG: kernel NULL pointer dereference, address: 0000000000000a30
[  100.000002] Oops: 0000 [#1] SMP
[  100.000003] CPU: 1 PID: 5027 Comm: verdictd Not tainted 5.15.40 #1
[  100.000004] RIP: 0010:nf_ct_deliver_cached_events+0x2d/0x110 [nf_conntrack]
[  100.000005] Call Trace:
[  100.000006]  nf_confirm+0x4e/0x100 [nf_conntrack]
[  100.000007]  nf_reinject+0x160/0x1b0
[  100.000008]  nfqnl_recv_verdict+0x216/0x310 [nfnetlink_queue]
[  100.000009] ---[ end trace 0000000000000000 ]---
`

var unknownOops = strings.NewReplacer("nf_ct_deliver_cached_events", "ext4_lookup", "nf_confirm", "path_lookupat").Replace(knownOops)

// printsDuring runs a scenario with a log of its own, into which text comes while it runs.
func printsDuring(t *testing.T, text string, args ...string) outcome {
	t.Helper()
	log := filepath.Join(t.TempDir(), "console")
	if err := os.WriteFile(log, []byte("BUG: this was before the run\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "result.json")
	args = append(within(testkit.Namespace(t), "--kernel-log", log, "--json", path), args...)
	var wait sync.WaitGroup
	wait.Go(func() {
		// The file is there once the watch has begun.
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			if _, err := os.Stat(path); err == nil {
				break
			}
		}
		f, err := os.OpenFile(log, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		if _, err := f.WriteString(text); err != nil {
			t.Error(err)
		}
	})
	got := stress(args...)
	wait.Wait()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v after %+v", err, got)
	}
	checkSchema(t, "clash", b)
	got.result = decode(t, string(b))
	if _, ok := got.result["incomplete"]; ok {
		t.Errorf("the result is still incomplete: %s", b)
	}
	return got
}

// An oops that is known, planted in the kernel log, makes the run fail, quoted and named; so does one that is not
// known, without a name; ordinary lines do not.
func TestPlantedReports(t *testing.T) {
	slow := []string{"--pace", "rate:400"} // half a second: the log is written while it runs
	for name, tt := range map[string]struct {
		text, signature string
		status          int
		says            []string
	}{
		"known":   {knownOops, "nf_ct_deliver_cached_events", cli.Failed, []string{"the kernel broke: oops (nf_ct_deliver_cached_events:", "CVE-2022-49561", "  | RIP: 0010:nf_ct_deliver_cached_events+0x2d/0x110"}},
		"unknown": {unknownOops, "", cli.Failed, []string{"the kernel broke: oops (unknown:", "not one that this program knows", "  | RIP: 0010:ext4_lookup+0x2d/0x110"}},
		"sound":   {"[  100.000001] eth0: link becomes ready\n[  100.000002] this line speaks of nf_ct_deliver_cached_events\n", "", cli.Done, nil},
	} {
		got := printsDuring(t, tt.text, slow...)
		if got.status != tt.status || (tt.says == nil) != (got.stderr == "") {
			t.Errorf("%s: %+v", name, got)
		}
		for _, want := range tt.says {
			if !strings.Contains(got.stderr, want) {
				t.Errorf("%s: stderr lacks %q:\n%s", name, want, got.stderr)
			}
		}
		reports := got.result["kernel_reports"].([]any)
		switch {
		case tt.status == cli.Done && len(reports) > 0, tt.status == cli.Failed && len(reports) != 1:
			t.Errorf("%s: %d reports: %v", name, len(reports), reports)
		case tt.status == cli.Failed:
			if r := reports[0].(map[string]any); r["signature"] != tt.signature || r["kind"] != crash.KindOops || len(r["lines"].([]any)) != 9 {
				t.Errorf("%s: %v", name, r)
			}
			if !strings.Contains(got.stdout, "THE KERNEL BROKE") {
				t.Errorf("%s: the summary is silent:\n%s", name, got.stdout)
			}
		}
		if got.result["delivered"] != 800.0 {
			t.Errorf("%s: the measurement is not in the result: %v", name, got.result["delivered"])
		}
	}
}

func TestUnreadableKernelLogIsSaid(t *testing.T) {
	path := filepath.Join(t.TempDir(), "result.json")
	got := stress(within(testkit.Namespace(t), "--kernel-log", filepath.Join(t.TempDir(), "missing"), "--json", path)...)
	if got.status != cli.Done || !strings.Contains(got.stdout, "kernel log  unknown: ") || !strings.Contains(got.stdout, "no such file") {
		t.Errorf("%+v", got)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	checkSchema(t, "clash", b)
	if unread, _ := decode(t, string(b))["kernel_log_unread"].(string); !strings.Contains(unread, "no such file") {
		t.Errorf("%s", b)
	}
}

// watched is an open result with a log to write to.
func watched(t *testing.T, path string) (r *result, log string, stderr *bytes.Buffer) {
	t.Helper()
	log = filepath.Join(t.TempDir(), "console")
	if err := os.WriteFile(log, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	stderr = &bytes.Buffer{}
	s := &streams{stdout: &bytes.Buffer{}, stderr: stderr, scenario: "clash", kernelLog: log}
	r, err := s.openResult(path)
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
	return decode(t, string(b))
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
	if err := r.flush(&part{Sent: 7}); err != nil {
		t.Fatal(err)
	}
	if got := readResult(t, path); got["incomplete"] != true || got["sent"] != 7.0 {
		t.Errorf("after a step: %v", got)
	}
	// A report is written as soon as it is seen: the machine may have no later.
	if err := os.WriteFile(log, []byte(knownOops), 0o600); err != nil {
		t.Fatal(err)
	}
	seen := func() bool { reports, _ := readResult(t, path)["kernel_reports"].([]any); return len(reports) == 1 }
	for end := time.Now().Add(time.Minute); !seen() && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
	if got := readResult(t, path); !seen() || got["sent"] != 7.0 || got["incomplete"] != true {
		t.Errorf("after a report: %v", got)
	}
	err := r.write("clash", &part{Sent: 9}, func(io.Writer) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "nf_ct_deliver_cached_events") || !strings.Contains(stderr.String(), "THE KERNEL REPORTS") {
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
	told := r.keep(&struct{}{}, func(traffic.Progress) { shown++ })
	told(traffic.Progress{Flows: 5, Counts: traffic.Counts{Delivered: 20}})
	told(traffic.Progress{Flows: 6}) // too soon to be written
	if got := readResult(t, path); got["flows"] != 5.0 || got["delivered"] != 20.0 || got["incomplete"] != true || shown != 2 {
		t.Errorf("%v, shown %d times", got, shown)
	}
	if err := r.close(); err != nil {
		t.Error(err)
	}
}

// A run without a result leaves what it had, and still tells what the kernel did.
func TestCloseTells(t *testing.T) {
	path := filepath.Join(t.TempDir(), "result.json")
	r, log, _ := watched(t, path)
	if err := os.WriteFile(log, []byte(unknownOops), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.close(); err == nil || !strings.Contains(err.Error(), "the kernel broke") {
		t.Errorf("%v", err)
	}
	if got := readResult(t, path); got["incomplete"] != true || len(got["kernel_reports"].([]any)) != 1 {
		t.Errorf("%v", got)
	}
}

// A device is written to, not replaced; a link stays one.
func TestResultFileKinds(t *testing.T) {
	folder := t.TempDir()
	link := filepath.Join(folder, "link")
	if err := os.Symlink(filepath.Join(folder, "file"), link); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "file"), []byte("of before"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/dev/null", link} {
		before, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := openResultFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.replace([]byte("{}")), f.close()); err != nil {
			t.Error(err)
		}
		after, err := os.Lstat(path)
		if err != nil || after.Mode() != before.Mode() {
			t.Errorf("%s: %v became %v, %v", path, before.Mode(), after.Mode(), err)
		}
	}
	if b, err := os.ReadFile(link); err != nil || string(b) != "{}" {
		t.Errorf("%q, %v", b, err)
	}
	if left, err := filepath.Glob(filepath.Join(folder, "*.new")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
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
