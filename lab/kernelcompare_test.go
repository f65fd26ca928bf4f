package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"verdictd/internal/cli"
	"verdictd/internal/report"
)

// What machines leave is what stress compare reads.
func TestSamplesCompare(t *testing.T) {
	c := sampling{kernelCompareConfig: &kernelCompareConfig{workloadMachines: workloadMachines{Flows: 500, Burst: 2, CPUs: 2}}}
	var folders []string
	for _, kernel := range []struct {
		name    string
		clashes uint64
	}{{"before", 12}, {"after", 0}} {
		s := &side{name: kernel.name, dir: t.TempDir()}
		for n := range 5 {
			clashes := kernel.clashes + uint64(n)
			row := report.CrashRow{Kernel: kernel.name, Release: "6.1-" + kernel.name, Run: scenarios["queue"]}
			row.Sent, row.Delivered, row.ClashResolve = 1000, 1000, &clashes
			if err := c.keep(s, n, &row); err != nil {
				t.Fatal(err)
			}
		}
		folders = append(folders, s.dir)
	}
	text, err := exec.Command("go", "run", "verdictd/stress", "compare", folders[0], folders[1]).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for _, part := range []string{"clashes", "better", "6.1-before", "6.1-after"} {
		if !strings.Contains(string(text), part) {
			t.Errorf("the comparison lacks %q:\n%s", part, string(text))
		}
	}
}

func TestCompareUsage(t *testing.T) {
	used := t.TempDir()
	if err := os.Mkdir(filepath.Join(used, "before"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(used, "before", "1.json"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	bin, _ := fakes(t)
	for args, problem := range map[string]string{
		"a":                                   "expected",
		"a b --repeat 0":                      "--repeat 0 is not within",
		"a b --scenario unheard-of":           "must be one of",
		"a b --flows 0":                       "--flows 0 is not within",
		"a b --bin " + bin + " --out " + used: "has samples of another run",
	} {
		var stderr bytes.Buffer
		status := run(t.Context(), append([]string{"kernel", "compare"}, strings.Fields(args)...), streams{io.Discard, &stderr})
		if status != cli.Usage || !strings.Contains(stderr.String(), problem) {
			t.Errorf("%s: status %d, %q; want %d and %q", args, status, stderr.String(), cli.Usage, problem)
		}
	}
}
