package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"verdictd/internal/cli"
	"verdictd/internal/testkit"
)

// TestBench compares the shipped programs, briefly: what comes of it is no measure of their speed.
func TestBench(t *testing.T) {
	testkit.Require(t)
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("no go command to build the programs with:", err)
	}
	bin := t.TempDir()
	for name, pkg := range map[string]string{"verdictd": "verdictd/daemon", "stress": "verdictd/stress", "conntrackwatch": "verdictd/conntrackwatch"} {
		build := exec.Command("go", "build", "-buildvcs=false", "-o", filepath.Join(bin, name), pkg)
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", pkg, err, out)
		}
	}
	reference := filepath.Join(bin, "nfq_reference")
	if out, err := exec.Command("cc", "-Wall", "-Wextra", "-Werror", "-O2", "-o", reference, "reference/nfq_reference.c", "-lnetfilter_queue", "-lnfnetlink").CombinedOutput(); err != nil {
		t.Logf("without the C program: %v\n%s", err, out)
	}
	_, noReference := os.Stat(reference)

	path := filepath.Join(t.TempDir(), "b.json")
	var stdout, stderr bytes.Buffer
	// A bound that cannot hold is the way to see exit status 1 of a run in which all went well.
	status := run(t.Context(), []string{
		"bench", "--bin", bin, "--rounds", "1", "--packets", "5000", "--fresh", "2000", "--reference", reference, "--json", path,
		"--require", "mmsg/gonfqueue<=1000,mmsg/mmsg+hold<=0.000001",
	}, streams{&stdout, &stderr})
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("exit status %d: %v\n%s%s", status, err, &stdout, &stderr)
	}
	var b benchResult
	if err := json.Unmarshal(text, &b); err != nil {
		t.Fatal(err)
	}
	if status != cli.Failed || b.Verdict.OK || len(b.Verdict.Failures) != 1 || !strings.Contains(stdout.String(), "mmsg / mmsg+hold is ") {
		t.Errorf("exit status %d, %+v\n%s%s", status, b.Verdict, &stdout, &stderr)
	}
	if len(b.Variants) != len(variants) {
		t.Fatalf("%d variants in %s", len(b.Variants), text)
	}
	for i := range b.Variants {
		v := &b.Variants[i]
		ofC := strings.HasPrefix(v.Variant, "c")
		if ofC && noReference != nil {
			if !strings.Contains(v.NotMeasured, reference) {
				t.Errorf("it does not say why there is no C program: %q", v.NotMeasured)
			}
			continue
		}
		if v.ValidRounds != 1 || !(v.CPUPerPacket.Median > 0) || !(v.PacketsPerSecond.Median > 0) || v.PathCPUPerPacket.Median <= v.CPUPerPacket.Median {
			t.Errorf("%+v", v)
		}
		if receive := v.PacketsPerReceive; (receive == nil) != ofC || receive != nil && receive.Median < 1 {
			t.Errorf("%s: packets per receive %v", v.Variant, receive)
		}
		if hold := strings.HasSuffix(v.Variant, "+hold"); hold != (v.FirstUS != nil) || hold && !(v.FirstUS.Median > 0) {
			t.Errorf("%s: the gate had first packets for %+v", v.Variant, v.FirstUS)
		}
	}
}

// TestBenchUsage: what is asked for in a wrong way is refused before anything runs.
func TestBenchUsage(t *testing.T) {
	for _, args := range [][]string{
		{"--only", "pcap"}, {"--rounds", "0"}, {"--packets", "10"}, {"--window", "0"}, {"--window", "5000"}, {"--fresh", "1"}, {"--require", "mmsg/rust<=1"},
	} {
		var stdout, stderr bytes.Buffer
		if status := run(t.Context(), append([]string{"bench"}, args...), streams{&stdout, &stderr}); status != cli.Usage || !strings.Contains(stderr.String(), args[0]) {
			t.Errorf("%v: exit status %d, %s", args, status, &stderr)
		}
	}
}
