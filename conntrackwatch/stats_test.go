package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"verdictd/internal/cli"
	"verdictd/internal/testkit"
)

func TestStatsJSON(t *testing.T) {
	testkit.Namespace(t)
	const flows = 10
	got := watch(t, flows, "stats", "--json")
	if got.status != cli.Done || got.stderr != "" {
		t.Fatalf("status %d, stderr %q", got.status, got.stderr)
	}
	var r struct {
		Schema  int
		Version string
		Seconds float64
		Table   map[string]*uint64
		CPUs    []map[string]*uint64
		Total   map[string]*uint64
	}
	if err := json.Unmarshal([]byte(got.stdout), &r); err != nil {
		t.Fatalf("%s: %v", got.stdout, err)
	}
	if r.Schema != 1 || r.Version != version || r.Seconds <= 0 {
		t.Errorf("schema %d, version %q, %v seconds", r.Schema, r.Version, r.Seconds)
	}
	if entries := r.Table["entries"]; entries == nil || *entries != flows {
		t.Errorf("entries %v in %s, want %d", entries, got.stdout, flows)
	}
	for _, key := range []string{
		"found", "invalid", "insert", "insert_failed", "drop", "early_drop", "error", "search_restart", "clash_resolve",
		"chain_toolong",
	} {
		total, ok := r.Total[key]
		if !ok {
			t.Errorf("total has no %s", key)
			continue
		}
		if total == nil {
			continue // not known to this kernel
		}
		var sum uint64
		for _, cpu := range r.CPUs {
			if cpu[key] == nil {
				t.Fatalf("%s is in total, but not of CPU %d", key, *cpu["cpu"])
			}
			sum += *cpu[key]
		}
		if *total != sum {
			t.Errorf("%s: total %d, but the CPUs sum up to %d", key, *total, sum)
		}
	}
}

func TestStatsText(t *testing.T) {
	testkit.Namespace(t)
	got := watch(t, 3, "stats", "--all")
	lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
	if got.status != cli.Done || len(lines) < 4 {
		t.Fatalf("status %d, stderr %q, stdout:\n%s", got.status, got.stderr, got.stdout)
	}
	if !strings.Contains(lines[0], "since start") || !strings.Contains(lines[0], "counts on Linux") {
		t.Errorf("header %q", lines[0])
	}
	if !strings.Contains(got.stdout, "\n    cpu  ") || !strings.Contains(got.stdout, "\n      0  ") {
		t.Errorf("want a table with a row for CPU 0:\n%s", got.stdout)
	}
	if last := lines[len(lines)-1]; !strings.Contains(last, "the table holds 3 of at most") {
		t.Errorf("last line %q", last)
	}
}

// sample is what stats --json prints, as far as these tests look.
type sample struct {
	Kernel   string
	Time     time.Time
	Seconds  float64
	Table    map[string]*uint64
	CPUs     []map[string]*uint64
	Total    map[string]*uint64
	Absolute map[string]*uint64
	Last     *struct {
		Seconds float64
		Total   map[string]*uint64
	}
	PerSecond map[string]*float64 `json:"per_second"`
	Meaning   map[string]string
}

func TestStatsSamples(t *testing.T) {
	testkit.Namespace(t)
	got := commandUntil(t, lines(3), "stats", "--json", "--interval", "50ms")
	if got.status != cli.Done {
		t.Fatalf("status %d, stderr %q", got.status, got.stderr)
	}
	var before sample
	n := 0
	for line := range strings.Lines(got.stdout) {
		var s sample
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if s.Last == nil || s.Last.Seconds <= 0 || s.Seconds <= before.Seconds || !s.Time.After(before.Time) {
			t.Fatalf("sample %d, %s: want a later one than %+v", n, line, before)
		}
		if took := s.Seconds - before.Seconds; took-s.Last.Seconds > 1e-3 || s.Last.Seconds-took > 1e-3 {
			t.Errorf("sample %d covers %v s, and lies %v s after the one before", n, s.Last.Seconds, took)
		}
		for name, v := range s.Total {
			if (v == nil) != (s.Meaning[name] == "") {
				t.Errorf("%s is %v, with the meaning %q", name, v, s.Meaning[name])
			}
		}
		before = s
		n++
	}
	if n < 3 {
		t.Errorf("%d samples, want more", n)
	}
}

// TestStatsEqualOthers holds stats against conntrack -S and the kernel's own file, in a namespace that has counted
// something and is at rest.
func TestStatsEqualOthers(t *testing.T) {
	conntrack, err := exec.LookPath("conntrack")
	if err != nil {
		t.Skip("conntrack is not installed")
	}
	testkit.Namespace(t)
	entry := []string{"-I", "-p", "udp", "-s", "192.0.2.1", "-d", "192.0.2.2", "--sport", "1", "--dport", "2", "-t", "300"}
	if out, err := exec.Command(conntrack, entry...).CombinedOutput(); err != nil {
		t.Fatalf("conntrack %v: %v: %s", entry, err, out)
	}
	_ = exec.Command(conntrack, entry...).Run() // there already: refused, and counted
	for i := range 5 {
		_ = exec.Command(conntrack, "-D", "-p", "udp", "--dport", strconv.Itoa(100+i)).Run() // no such entry
	}

	var stdout, stderr bytes.Buffer
	if status := run(t.Context(), []string{"stats", "--once", "--json"}, output{&stdout, &stderr}); status != cli.Done {
		t.Fatalf("status %d, stderr %q", status, &stderr)
	}
	var got sample
	if err := json.Unmarshal(stdout.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if n := got.Total["insert"]; n == nil || *n != 1 {
		t.Errorf("insert is %v, want the one entry that conntrack -I made", n)
	}
	if n := got.Table["entries"]; n == nil || *n != 1 {
		t.Errorf("%v entries, want 1", n)
	}

	out, err := exec.Command(conntrack, "-S").Output()
	if err != nil {
		t.Fatal(err)
	}
	compareWithConntrack(t, got, string(out))
	proc, err := os.ReadFile("/proc/thread-self/net/stat/nf_conntrack")
	if err != nil {
		t.Fatal(err)
	}
	compareWithProc(t, got, string(proc))
}

// The names that conntrack and the kernel's file have for counters, where they are not those of stats. The file's
// header changed with the kernels, and kept the place of a counter that was gone.
var otherNames = map[string]string{
	"chaintoolong": "chain_toolong", "chainlength": "chain_toolong", "clashres": "clash_resolve", "icmp_error": "error",
}

func compareWithConntrack(t *testing.T, got sample, text string) {
	t.Helper()
	rows := strings.Split(strings.TrimSpace(text), "\n")
	if len(rows) != len(got.CPUs) {
		t.Fatalf("conntrack -S has %d CPUs, stats %d", len(rows), len(got.CPUs))
	}
	for i, row := range rows {
		compared := 0
		for field := range strings.FieldsSeq(row) {
			name, value, _ := strings.Cut(field, "=")
			if other, ok := otherNames[name]; ok {
				name = other
			}
			n, ok := got.CPUs[i][name]
			if !ok || n == nil || strconv.FormatUint(*n, 10) != value {
				t.Errorf("CPU %d: conntrack -S has %s, stats %v", i, field, n)
			}
			compared++
		}
		if compared < 8 {
			t.Errorf("conntrack -S tells %d counters of CPU %d: %s", compared, i, row)
		}
	}
}

func compareWithProc(t *testing.T, got sample, text string) {
	t.Helper()
	rows := strings.Split(strings.TrimSpace(text), "\n")
	header := strings.Fields(rows[0])
	if len(rows)-1 != len(got.CPUs) {
		t.Fatalf("the kernel's file has %d CPUs, stats %d", len(rows)-1, len(got.CPUs))
	}
	for i, row := range rows[1:] {
		compared := 0
		for column, field := range strings.Fields(row) {
			want, err := strconv.ParseUint(field, 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			name := header[column]
			if other, ok := otherNames[name]; ok {
				name = other
			}
			n := got.CPUs[i][name]
			if name == "entries" {
				n = got.Table[name]
			}
			if n == nil {
				continue // stands in the file for one that is gone
			}
			if *n != want {
				t.Errorf("CPU %d: %s is %d in the kernel's file, %d by stats", i, header[column], want, *n)
			}
			compared++
		}
		if compared < 8 {
			t.Errorf("only %d counters of CPU %d were compared", compared, i)
		}
	}
}
