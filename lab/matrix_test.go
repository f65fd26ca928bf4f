package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"verdictd/internal/cli"
	"verdictd/internal/report"
	"verdictd/lab/internal/fakes"
)

// oneRow is a matrix of output with the guard on, small enough for the fakes.
func oneRow(bin string, args ...string) []string {
	return append([]string{"matrix", "--bin", bin, "--flows", "10", "--only",
		"placement=output,guard=hold,family=ipv4,fanout=balance,nat=none,traffic=udp,program=verdictd,backend=mmsg,events=none"}, args...)
}

func readReport(t *testing.T, path string) *report.Report {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	followsSchema(t, "matrix", text)
	var rep report.Report
	if err := json.Unmarshal(text, &rep); err != nil {
		t.Fatal(err)
	}
	return &rep
}

func TestMatrix(t *testing.T) {
	bin, pids := fakes.Install(t)
	dir := t.TempDir()
	var stdout, stderr bytes.Buffer
	args := append(oneRow(bin, "--json", filepath.Join(dir, "m.json"), "--html", filepath.Join(dir, "m.html")),
		"--only", "placement=none,family=ipv6", "--only", "events=listener,guard=hold")
	if status := run(t.Context(), args, streams{&stdout, &stderr}); status != cli.Done {
		t.Fatalf("exit status %d\n%s%s", status, stdout.String(), stderr.String())
	}
	rep := readReport(t, filepath.Join(dir, "m.json"))
	if len(rep.Runs) != 3 || rep.Planned != 3 || !rep.Verdict.OK || rep.Interrupted {
		t.Fatalf("report %+v", rep)
	}
	none, plain, listener := rep.Runs[0], rep.Runs[1], rep.Runs[2]
	if none.Placement != "none" || none.Family != "ipv6" || none.Sent != 40 || none.VerdictLatencyUS != nil ||
		len(none.QueuePackets) > 0 {
		t.Errorf("the run without a queue: %+v", none)
	}
	if plain.Sent != 40 || plain.Held != 6 || plain.Gate.First != 2 || plain.Queued() != 40 ||
		plain.VerdictLatencyUS.P50 != 301.5 || plain.EventsSeen != nil {
		t.Errorf("the plain run: %+v", plain)
	}
	if listener.Events != "listener" || listener.EventsSeen == nil || *listener.EventsSeen != 30 {
		t.Errorf("the run with a listener: %+v", listener)
	}
	if rep.Host.Kernel == "" || rep.Host.QueueKind == "" || rep.Host.CPUs < 1 ||
		rep.Host.Versions["verdictd"] != "fake-1" || rep.Host.Versions["lab"] != version {
		t.Errorf("host %+v", rep.Host)
	}
	if page, err := os.ReadFile(filepath.Join(dir, "m.html")); err != nil ||
		!bytes.Contains(page, []byte(rep.Verdict.Line)) {
		t.Errorf("the page does not say %q (%v)", rep.Verdict.Line, err)
	}
	if !strings.HasSuffix(stdout.String(), rep.Verdict.Line+"\n") {
		t.Errorf("stdout does not end in the verdict:\n%s", stdout.String())
	}
	if lines := strings.Count(stderr.String(), "\n"); lines != 3 || !strings.Contains(stderr.String(), "[3/3, ") {
		t.Errorf("progress, want 3 lines:\n%s", stderr.String())
	}
	fakes.NothingLeft(t, pids)
}

func TestMatrixJSONToStdout(t *testing.T) {
	bin, _ := fakes.Install(t)
	var stdout, stderr bytes.Buffer
	if status := run(t.Context(), oneRow(bin, "--json", "-"), streams{&stdout, &stderr}); status != cli.Done {
		t.Fatalf("exit status %d: %s", status, stderr.String())
	}
	var rep report.Report
	if err := json.Unmarshal(stdout.Bytes(), &rep); err != nil || len(rep.Runs) != 1 {
		t.Errorf("stdout is not one report: %v\n%s", err, stdout.String())
	}
	if !strings.Contains(stderr.String(), rep.Verdict.Line) {
		t.Errorf("stderr has no table:\n%s", stderr.String())
	}
}

// TestMatrixGoesOn has one program fail: each of its runs says so, the others are as they are without it.
func TestMatrixGoesOn(t *testing.T) {
	bin, pids := fakes.Install(t)
	t.Setenv(fakes.MoodVariable+"verdictd", "fails")
	path := filepath.Join(t.TempDir(), "m.json")
	var stdout, stderr bytes.Buffer
	status := run(t.Context(), oneRow(bin, "--json", path, "--only", "placement=none"), streams{&stdout, &stderr})
	if status != cli.Failed {
		t.Fatalf("exit status %d\n%s", status, stderr.String())
	}
	rep := readReport(t, path)
	if len(rep.Runs) != 3 || rep.Runs[0].Error != "" || rep.Runs[1].Error != "" || rep.Verdict.OK || rep.Interrupted {
		t.Fatalf("report %+v", rep)
	}
	const want = "verdictd failed with exit status 3: first line | last line"
	if rep.Runs[2].Error != want || !strings.Contains(stdout.String(), "error: "+want) {
		t.Errorf("error %q, want %q, and so in the table:\n%s", rep.Runs[2].Error, want, stdout.String())
	}
	fakes.NothingLeft(t, pids)
}

func TestMatrixRefusesAnIncompleteResult(t *testing.T) {
	bin, _ := fakes.Install(t)
	t.Setenv(fakes.MoodVariable+"conntrackwatch", "forgets")
	var stdout, stderr bytes.Buffer
	status := run(t.Context(), oneRow(bin), streams{&stdout, &stderr})
	if status != cli.Failed || !strings.Contains(stdout.String(), `has no "total.clash_resolve"`) {
		t.Errorf("exit status %d\n%s", status, stdout.String())
	}
}

func TestUsage(t *testing.T) {
	for want, args := range map[string][]string{
		"there is no placement":     {"matrix", "--only", "placement=here"},
		"--flows 0 is not within":   {"matrix", "--flows", "0"},
		"--threads 5 is not within": {"matrix", "--threads", "5"},
		"no distribution":           {"matrix", "--analysis", "sometimes:1ms"},
		"needs a command":           {},
		"unknown flag":              {"matrix", "--frobnicate"},
	} {
		refuses(t, want, args...)
	}
}

func TestMissingPrograms(t *testing.T) {
	fakes.Install(t)
	var stderr bytes.Buffer
	status := run(t.Context(), oneRow(t.TempDir()), streams{&bytes.Buffer{}, &stderr})
	if status != cli.Failed || !strings.Contains(stderr.String(), "make build") ||
		!strings.Contains(stderr.String(), "no conntrackwatch") {
		t.Errorf("exit status %d, stderr %q", status, stderr.String())
	}
}

func TestUnwritableReport(t *testing.T) {
	bin, pids := fakes.Install(t)
	file := filepath.Join(t.TempDir(), "no") // so that it can be no folder
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	status := run(t.Context(), oneRow(bin, "--html", filepath.Join(file, "m.html")),
		streams{&bytes.Buffer{}, &stderr})
	if ran, err := os.ReadDir(pids); status != cli.Failed || !strings.Contains(stderr.String(), "no/m.html") ||
		len(ran) > 0 || err != nil {
		t.Errorf("exit status %d, stderr %q, %d programs ran", status, stderr.String(), len(ran))
	}
}

func TestMatrixInterrupted(t *testing.T) {
	bin, pids := fakes.Install(t)
	t.Setenv(fakes.MoodVariable+"stress", "hangs")
	path := filepath.Join(t.TempDir(), "m.json")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		fakes.WaitFor(t, pids, "stress")
		cancel()
	}()
	var stdout, stderr bytes.Buffer
	status := run(ctx, oneRow(bin, "--json", path, "--only", "guard=off"), streams{&stdout, &stderr})
	if status != cli.Failed {
		t.Errorf("exit status %d", status)
	}
	rep := readReport(t, path)
	if !rep.Interrupted || rep.Verdict.OK || len(rep.Runs) != 0 ||
		!strings.HasPrefix(rep.Verdict.Line, "INTERRUPTED after 0 of ") {
		t.Errorf("report %+v", rep)
	}
	if !strings.Contains(stderr.String(), "lab: interrupted after 0 of ") {
		t.Errorf("stderr %q", stderr.String())
	}
	fakes.NothingLeft(t, pids)
}

// TestMatrixSurvivesKill kills each program in turn while a run is on: it is reported, and nothing is left.
func TestMatrixSurvivesKill(t *testing.T) {
	for _, name := range []string{"verdictd", "conntrackwatch", "stress"} {
		t.Run(name, func(t *testing.T) {
			bin, pids := fakes.Install(t)
			t.Setenv(fakes.MoodVariable+"stress", "hangs")
			path := filepath.Join(t.TempDir(), "m.json")
			go func() {
				fakes.WaitFor(t, pids, "stress")
				if err := unix.Kill(fakes.WaitFor(t, pids, name), unix.SIGKILL); err != nil {
					t.Error(err)
				}
			}()
			var stdout, stderr bytes.Buffer
			status := run(t.Context(), oneRow(bin, "--json", path), streams{&stdout, &stderr})
			if status != cli.Failed {
				t.Errorf("exit status %d", status)
			}
			if rep := readReport(t, path); len(rep.Runs) != 1 || rep.Runs[0].Error != name+" was killed by SIGKILL" {
				t.Errorf("runs %+v", rep.Runs)
			}
			fakes.NothingLeft(t, pids)
		})
	}
}
