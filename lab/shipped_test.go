package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"verdictd/internal/cli"
	"verdictd/internal/report"
	"verdictd/internal/testkit"
	"verdictd/lab/internal/testbed"
)

// shipped builds the real programs.
func shipped(t *testing.T) (bin string) {
	t.Helper()
	testkit.Require(t)
	bin = t.TempDir()
	buildPrograms(t, bin, "verdictd", "stress", "conntrackwatch")
	return bin
}

// buildPrograms puts real programs into a directory.
func buildPrograms(t *testing.T, bin string, names ...string) {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("no go command to build the programs with:", err)
	}
	for _, name := range names {
		pkg := map[string]string{"verdictd": "verdictd/daemon", "stress": "verdictd/stress",
			"conntrackwatch": "verdictd/conntrackwatch", "lab": "verdictd/lab"}[name]
		path := filepath.Join(bin, name)
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err) // go build would write through a link
		}
		// Without the repository's state, which git may not tell in a user namespace: there the files are somebody
		// else's.
		build := exec.Command("go", "build", "-buildvcs=false", "-o", path, pkg)
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", pkg, err, out)
		}
	}
}

// TestShipped runs the real programs, which are built once for all of it.
func TestShipped(t *testing.T) {
	bin := shipped(t)
	t.Run("matrix", func(t *testing.T) { shippedMatrix(t, bin) })
	t.Run("soak", func(t *testing.T) { shippedSoak(t, bin) })
	t.Run("dns", func(t *testing.T) { shippedDNS(t, bin) })
}

// shippedMatrix runs the real programs over a few rows: with the guard off bursts clash, with it they do not.
func shippedMatrix(t *testing.T, bin string) {
	path := filepath.Join(t.TempDir(), "m.json")
	// A packet waits long enough for the others of its burst, however busy the machine is.
	args := []string{"matrix", "--bin", bin, "--flows", "100", "--analysis", "2ms", "--json", path}
	for _, p := range []string{"placement=output,family=ipv4", "placement=forward,family=ipv4",
		"placement=verdict3,family=ipv6"} {
		args = append(args, "--only", p+",guard=off,guard=hold,fanout=balance,nat=none,traffic=udp,program=verdictd,backend=mmsg,events=none")
	}
	args = append(args, "--only", "placement=output,backend=gonfqueue", "--only", "placement=notrack,family=ipv6",
		"--only", "nat=masquerade,family=ipv4", "--only", "fanout=numgen,placement=postrouting,family=ipv6",
		"--only", "nat=backends,family=ipv6", "--only", "traffic=both-ends,placement=forward,family=ipv4", "--only",
		"traffic=icmp,placement=output",
		"--only", "program=go-nfqueue,placement=forward")
	var stdout, stderr bytes.Buffer
	if status := run(t.Context(), args, streams{&stdout, &stderr}); status != cli.Done {
		t.Fatalf("exit status %d\n%s%s", status, stdout.String(), stderr.String())
	}
	rep := readReport(t, path)
	if len(rep.Runs) != 23 {
		t.Errorf("%d runs, want 23", len(rep.Runs))
	}
	// A kernel that resolves clashes without counting them has a note about it.
	counted := len(testbed.KernelNotes(rep.Host.Kernel)) == 0
	for i := range rep.Runs {
		r := &rep.Runs[i]
		switch {
		case r.Guard == report.GuardHold && (r.Clashes() > 0 || r.Delivered != 400 || r.Held == 0):
			t.Errorf("%s: %d clashes, %d of 400 delivered, %d held", r.Name(), r.Clashes(), r.Delivered, r.Held)
		case r.Guard == report.GuardOff && r.Exposed() && counted && r.Clashes() < 150:
			t.Errorf("%s: %d clashes of 300, want at least 150", r.Name(), r.Clashes())
		}
	}
}

// shippedSoak runs the real programs in two places, for half a second each: without the guard the same flows clash.
func shippedSoak(t *testing.T, bin string) {
	for guard, want := range map[string]int{report.GuardHold: cli.Done, report.GuardOff: cli.Failed} {
		path := filepath.Join(t.TempDir(), "s.json")
		args := []string{"soak", "--bin", bin, "--duration", "5s", "--seed", "1", "--guard", guard, "--only",
			"input/cpu", "--only", "verdict3/balance", "--json", path}
		var stdout, stderr bytes.Buffer
		if status := run(t.Context(), args, streams{&stdout, &stderr}); status != want {
			t.Errorf("guard %s: exit status %d, want %d\n%s%s", guard, status, want, stdout.String(), stderr.String())
		}
		r := readSoak(t, path)
		if len(r.Shares) != 2 || r.Verdict.OK != (guard == report.GuardHold) {
			t.Fatalf("%+v", r)
		}
		for i := range r.Shares {
			s := &r.Shares[i]
			switch {
			case guard == report.GuardOff && len(testbed.KernelNotes(r.Host.Kernel)) == 0 && s.Clashes == 0:
				t.Errorf("%s: no clash without a guard", s.Line())
			case s.Sent == 0 || s.FilterDropped == 0 || s.Daemon.Dropped == 0 || s.Load.Shape.Reused == 0 &&
				s.Load.Shape.Shared == 0:
				t.Errorf("%s: nothing was put to the test: %+v", s.Line(), s.Load.Shape)
			}
		}
	}
}
