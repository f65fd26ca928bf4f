package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"verdictd/internal/cli"
	"verdictd/internal/report"
	"verdictd/internal/traffic/dns"
)

// dnsRows are those of a lab that has shown what it is to show.
func dnsRows() *dnsResult {
	run := func(guard string, retried, held uint64) dnsRun {
		return dnsRun{Guard: guard, Held: held, Resolver: &dns.Result{Resolutions: 100, Resolved: 100, Retried: retried}}
	}
	return &dnsResult{Runs: []dnsRun{
		run(noQueue, 0, 0), run(report.GuardOff, 3, 0), run(report.GuardDrop, 90, 0), run(report.GuardHold, 0, 95),
	}}
}

func TestDNSJudge(t *testing.T) {
	r := dnsRows()
	if r.judge(dns.Parallel); !r.Verdict.OK || !strings.Contains(r.Verdict.Line, "guard drop: 90 of 100") || !strings.Contains(r.Verdict.Line, "guard hold: 0 of 100") {
		t.Errorf("%+v", r.Verdict)
	}
	for want, spoil := range map[string]func(r *dnsResult){
		"no queue: 1 resolutions had to ask again": func(r *dnsResult) { r.Runs[0].Resolver.Retried = 1 },
		"hold: 2 resolutions had to ask again":     func(r *dnsResult) { r.Runs[3].Resolver.Retried = 2 },
		"hold: 0 resolutions had to ask again, 1":  func(r *dnsResult) { r.Runs[3].Resolver.Failed = 1 },
		"hold: 4 clashes":                          func(r *dnsResult) { r.Runs[3].Clashes = 4 },
		"the guard had nothing to do":              func(r *dnsResult) { r.Runs[3].Held = 0 },
		"nothing was put to the test":              func(r *dnsResult) { r.Runs[2].Resolver.Retried = 0 },
		"hold: 2 packets went on":                  func(r *dnsResult) { r.Runs[3].Expired = 2 },
		"5 wrong answers":                          func(r *dnsResult) { r.Runs[1].Resolver.WrongAnswers = 5 },
		"mask 128":                                 func(r *dnsResult) { r.Runs[1].Tainted = 128 },
		"off: it broke":                            func(r *dnsResult) { r.Runs[1].Error = "it broke" },
	} {
		r := dnsRows()
		spoil(r)
		r.judge(dns.Parallel)
		if r.Verdict.OK || len(r.Verdict.Failures) != 1 || !strings.Contains(r.Verdict.Line, want) {
			t.Errorf("%+v, want a failure with %q", r.Verdict, want)
		}
	}
	// A resolver that asks one question after the other is not exposed.
	r = dnsRows()
	r.Runs[2].Resolver.Retried, r.Runs[3].Held = 0, 0
	if r.judge(dns.SingleRequest); !r.Verdict.OK {
		t.Errorf("%+v", r.Verdict)
	}
	r = dnsRows()
	r.Interrupted = true
	if r.judge(dns.Parallel); r.Verdict.OK || !strings.Contains(r.Verdict.Line, "INTERRUPTED after 4 of 4") {
		t.Errorf("%+v", r.Verdict)
	}
}

func TestDNSUsage(t *testing.T) {
	for want, args := range map[string][]string{
		"resolutions 0":      {"--resolutions", "0", "--parallel", "0"},
		"parallel 0":         {"--resolutions", "0", "--parallel", "0"},
		"--placement":        {"--placement", "raw"},
		"knows whole":        {"--client", "getaddrinfo", "--attempt-timeout", "200ms"},
		"neither none nor [": {"--analysis", "long"},
	} {
		var stdout, stderr bytes.Buffer
		if status := run(t.Context(), append([]string{"dns"}, args...), streams{&stdout, &stderr}); status != cli.Usage || !strings.Contains(stderr.String(), want) {
			t.Errorf("lab dns %v: exit status %d, stderr %q; want %d and %q", args, status, stderr.String(), cli.Usage, want)
		}
	}
}

// A row whose program fails is a failure that names it, and the other rows run all the same.
func TestDNSWithBrokenPrograms(t *testing.T) {
	bin, pids := fakes(t)
	t.Setenv(moodVariable+"stress", "fails")
	var stdout, stderr bytes.Buffer
	if status := run(t.Context(), []string{"dns", "--bin", bin}, streams{&stdout, &stderr}); status != cli.Failed {
		t.Errorf("exit status %d", status)
	}
	if n := strings.Count(stdout.String(), "stress failed with exit status 3: first line | last line"); n < len(dnsGuards) {
		t.Errorf("%d rows say what failed:\n%s", n, stdout.String())
	}
	nothingLeft(t, pids)
}

// shippedDNS runs the real programs: what guard drop does to the second question costs a timeout, and holding it costs
// nobody one. The system's own resolver sees the same.
func shippedDNS(t *testing.T, bin string) {
	for client, waits := range map[string]time.Duration{"builtin": 2 * time.Second, "getaddrinfo": 3 * time.Second} {
		t.Run(client, func(t *testing.T) {
			t.Parallel() // most of it is waiting
			path := filepath.Join(t.TempDir(), "d.json")
			args := []string{
				"dns", "--bin", bin, "--client", client, "--resolutions", "10", "--parallel", "10",
				"--attempt-timeout", waits.String(), "--analysis", "5ms", "--json", path,
			}
			var stdout, stderr bytes.Buffer
			if status := run(t.Context(), args, streams{&stdout, &stderr}); status != cli.Done {
				t.Errorf("exit status %d\n%s%s", status, stdout.String(), stderr.String())
			}
			if !strings.Contains(stdout.String(), "it asks again after "+waits.String()) {
				t.Errorf("%s", stdout.String())
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var r dnsResult
			if err := json.Unmarshal(text, &r); err != nil {
				t.Fatal(err)
			}
			if len(r.Runs) != len(dnsGuards) {
				t.Fatalf("%d rows", len(r.Runs))
			}
			drop, hold := &r.Runs[2], &r.Runs[3]
			if slowest := drop.Resolver.Time.Max; drop.Dropped == 0 || drop.Resolver.Retried == 0 || slowest < 0.95*float64(waits.Milliseconds()) {
				t.Errorf("%+v: %+v", drop, drop.Resolver)
			}
			if hold.Held == 0 || hold.Resolver.Resolved != 10 {
				t.Errorf("%+v: %+v", hold, hold.Resolver)
			}
		})
	}
}
