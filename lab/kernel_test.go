package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"verdictd/lab/internal/fakes"
)

func TestCompareUsage(t *testing.T) {
	used := t.TempDir()
	if err := os.Mkdir(filepath.Join(used, "before"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(used, "before", "1.json"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	bin, _ := fakes.Install(t)
	for args, problem := range map[string]string{
		"a":                                   "expected",
		"a b --repeat 0":                      "--repeat 0 is not within",
		"a b --scenario unheard-of":           "must be one of",
		"a b --flows 0":                       "--flows 0 is not within",
		"a b --bin " + bin + " --out " + used: "has samples of another run",
	} {
		refuses(t, problem, append([]string{"kernel", "compare"}, strings.Fields(args)...)...)
	}
}

func TestCrashUsage(t *testing.T) {
	for args, problem := range map[string]string{
		"--flows 0":            "--flows 0 is not within",
		"--burst 1":            "--burst 1 is not within",
		"--cpus 1":             "--cpus 1 is not within",
		"--repeat 0":           "--repeat 0 is not within",
		"--modules /x":         "--modules goes with --image",
		"--timeout=-1s":        `--timeout: "-1s" is below 0`,
		"--variant unheard-of": "must be one of",
	} {
		refuses(t, problem, append([]string{"kernel", "crash"}, strings.Fields(args)...)...)
	}
}
