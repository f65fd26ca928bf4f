package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"verdictd/internal/cli"
	"verdictd/lab/internal/fakes"
	"verdictd/lab/internal/soak"
)

func TestSoakUsage(t *testing.T) {
	for want, args := range map[string][]string{
		"--duration 1s is not within": {"soak", "--duration", "1s"},
		"no such place":               {"soak", "--only", "output"},
		"--guard":                     {"soak", "--guard", "drop"},
	} {
		refuses(t, want, args...)
	}
}

// TestSoakWithoutADaemon has a daemon that does nothing: the packets arrive, and the soak must not be content with
// that.
func TestSoakWithoutADaemon(t *testing.T) {
	bin, pids := fakes.Install(t)
	buildPrograms(t, bin, "stress")
	path := filepath.Join(t.TempDir(), "s.json")
	var stdout, stderr bytes.Buffer
	status := run(t.Context(), []string{"soak", "--bin", bin, "--duration", "5s", "--seed", "1", "--only",
		"output/balance", "--json", path}, streams{&stdout, &stderr})
	if status != cli.Failed || !strings.Contains(stderr.String(), "seed 1") ||
		!strings.Contains(stdout.String(), "FAILED: 1 of 1 places (seed 1)") {
		t.Errorf("exit status %d\n%s%s", status, stdout.String(), stderr.String())
	}
	s := readSoak(t, path).Shares[0]
	if found := strings.Join(s.Violations, "; "); !strings.Contains(found, "went through the queue") ||
		!strings.Contains(found, "that the policy drops") ||
		s.Lost+s.EchoLost+s.Reordered > 0 || s.FilteredLost != s.FilterDropped || s.FilterDropped == 0 {
		t.Errorf("violations %q of %+v", s.Violations, s)
	}
	fakes.NothingLeft(t, pids)
}

func readSoak(t *testing.T, path string) *soak.Result {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	followsSchema(t, "soak", text)
	var r soak.Result
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	return &r
}
