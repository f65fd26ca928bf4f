package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"verdictd/internal/cli"
	"verdictd/internal/testkit"
	"verdictd/lab/internal/faults"
)

func TestFaultsUsage(t *testing.T) {
	for want, args := range map[string][]string{
		`no fault "fire"`: {"faults", "--only", "fire"},
		"--guard":         {"faults", "--guard", "drop"},
		"comes first":     {"faults", "--program", "libnetfilter_queue"},
	} {
		refuses(t, want, args...)
	}
}

// TestFaults: faults happen to the program that people run, and the lab tells a program that gets over them from one
// that does not.
func TestFaults(t *testing.T) {
	testkit.Require(t)
	bin := shipped(t)
	play := func(want int, args ...string) *faults.Played {
		t.Helper()
		path := filepath.Join(t.TempDir(), "f.json")
		var stdout, stderr bytes.Buffer
		args = append([]string{"faults", "--bin", bin, "--seed", "1", "--rate", "2000", "--json", path}, args...)
		if status := run(t.Context(), args, streams{&stdout, &stderr}); status != want {
			t.Errorf("exit status %d, want %d\n%s%s", status, want, stdout.String(), stderr.String())
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		followsSchema(t, "faults", text)
		var r faults.Result
		if err := json.Unmarshal(text, &r); err != nil {
			t.Fatal(err)
		}
		return r.Programs[0]
	}
	p := play(cli.Done, "--plan", "flush=1;delete=1;interface=1;second=1")
	if len(p.Faults) != 4 || p.Inherent.Lost == 0 || p.Others != (faults.Costs{}) {
		t.Errorf("%+v; want four faults, and losses at the interface alone", p)
	}
	// The lab starts it once more after 0 or 100 ms, and meanwhile the rules let packets pass.
	p = play(cli.Failed, "--no-keeper", "--plan", "kill=2")
	if p.Others.Unjudged == 0 {
		t.Errorf("%+v; want packets that nobody judged", p)
	}
}
