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
	"verdictd/lab/internal/dns"
	"verdictd/lab/internal/fakes"
)

func TestDNSUsage(t *testing.T) {
	for want, args := range map[string][]string{
		"resolutions 0":      {"--resolutions", "0", "--parallel", "0"},
		"parallel 0":         {"--resolutions", "0", "--parallel", "0"},
		"--placement":        {"--placement", "raw"},
		"knows whole":        {"--client", "getaddrinfo", "--attempt-timeout", "200ms"},
		"neither none nor [": {"--analysis", "long"},
	} {
		refuses(t, want, append([]string{"dns"}, args...)...)
	}
}

// A row whose program fails is a failure that names it, and the other rows run all the same.
func TestDNSWithBrokenPrograms(t *testing.T) {
	bin, pids := fakes.Install(t)
	t.Setenv(fakes.MoodVariable+"stress", "fails")
	var stdout, stderr bytes.Buffer
	if status := run(t.Context(), []string{"dns", "--bin", bin}, streams{&stdout, &stderr}); status != cli.Failed {
		t.Errorf("exit status %d", status)
	}
	if n := strings.Count(stdout.String(), "stress failed with exit status 3: first line | last line"); n < len(dns.Guards) {
		t.Errorf("%d rows say what failed:\n%s", n, stdout.String())
	}
	fakes.NothingLeft(t, pids)
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
			var r dns.Result
			if err := json.Unmarshal(text, &r); err != nil {
				t.Fatal(err)
			}
			// Beside glibc's way those of musl and of two sockets, each without a guard and with one that drops.
			if others := map[string]int{"builtin": 4}[client]; len(r.Runs) != len(dns.Guards)+others {
				t.Fatalf("%d rows", len(r.Runs))
			}
			for _, row := range r.Runs {
				if separate := strings.HasPrefix(row.As, "Go"); (row.Resolver.Served.OneFlow == 0) != separate {
					t.Errorf("%+v: %+v", row, row.Resolver)
				}
			}
			drop, hold := &r.Runs[2], &r.Runs[3]
			if slowest := drop.Resolver.Time.Max; drop.Dropped == 0 || drop.Resolver.Retried == 0 ||
				slowest < 0.95*float64(waits.Milliseconds()) {
				t.Errorf("%+v: %+v", drop, drop.Resolver)
			}
			if hold.Held == 0 || hold.Resolver.Resolved != 10 {
				t.Errorf("%+v: %+v", hold, hold.Resolver)
			}
		})
	}
}
