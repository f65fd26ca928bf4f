package main

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"verdictd/internal/cli"
	"verdictd/internal/crash"
	"verdictd/internal/testkit"
)

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
		"known": {testkit.KnownOops, "nf_ct_deliver_cached_events", cli.Failed,
			[]string{"the kernel broke: oops (nf_ct_deliver_cached_events:", "CVE-2022-49561",
				"  | RIP: 0010:nf_ct_deliver_cached_events+0x2d/0x110"}},
		"unknown": {testkit.UnknownOops, "", cli.Failed,
			[]string{"the kernel broke: oops (unknown:", "not one that this program knows",
				"  | RIP: 0010:ext4_lookup+0x2d/0x110"}},
		"sound": {"[  100.000001] eth0: link becomes ready\n[  100.000002] this line speaks of nf_ct_deliver_cached_events\n", "", cli.Done, nil},
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
			if r := reports[0].(map[string]any); r["signature"] != tt.signature || r["kind"] != crash.KindOops ||
				len(r["lines"].([]any)) != 9 {
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
	if got.status != cli.Done || !strings.Contains(got.stdout, "kernel log  unknown: ") ||
		!strings.Contains(got.stdout, "no such file") {
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
