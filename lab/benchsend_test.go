package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"verdictd/internal/cli"
	"verdictd/internal/testkit"
)

// TestBenchSend compares the shipped stress, briefly: what comes of it is no measure of its speed.
func TestBenchSend(t *testing.T) {
	testkit.Require(t)
	bin := shipped(t)
	reference := filepath.Join(bin, "send_reference")
	if out, err := exec.Command("cc", "-Wall", "-Wextra", "-Werror", "-O2", "-o", reference, "reference/send_reference.c").CombinedOutput(); err != nil {
		t.Logf("without the C program: %v\n%s", err, out)
	}
	path := filepath.Join(t.TempDir(), "b.json")
	var stdout, stderr bytes.Buffer
	// The time is the difference of two runs, so there are packets enough for it to be above that of starting.
	// A bound that cannot hold is the way to see exit status 1 of a run in which all went well.
	status := run(t.Context(), []string{
		"bench", "send", "--bin", bin, "--rounds", "1", "--packets", "400000", "--clashing", "512", "--reference", reference, "--json", path,
		"--require", "flood+gso/flood>=0.0001,flood/flood+gso>=1000000",
	}, streams{&stdout, &stderr})
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("exit status %d: %v\n%s%s", status, err, &stdout, &stderr)
	}
	var r sendResult
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	if status != cli.Failed || r.Verdict.OK || len(r.Verdict.Failures) != 1 || !strings.Contains(stdout.String(), "less than 1e+06") {
		t.Errorf("exit status %d, %+v\n%s%s", status, r.Verdict, &stdout, &stderr)
	}
	for i := range r.Senders {
		s := &r.Senders[i]
		if _, err := exec.LookPath(map[string]string{"c": reference, "trafgen": "trafgen"}[s.Sender]); (s.Sender == "c" || s.Sender == "trafgen") && err != nil {
			if !strings.Contains(s.NotMeasured, s.Sender) && !strings.Contains(s.NotMeasured, reference) {
				t.Errorf("it does not say why there is no %s: %q", s.Sender, s.NotMeasured)
			}
			continue
		}
		switch {
		case s.ValidRounds != 1 || s.NotMeasured != "":
			t.Errorf("%+v", s)
		case provokes(s.Sender) && (s.ClashesPerPacket == nil || s.Packets != 512):
			t.Errorf("%+v", s)
		case !provokes(s.Sender) && (s.Packets < 399_000 || !(s.CPUPerPacket.Median > 0) || !(s.PacketsPerSecond.Median > 0)):
			t.Errorf("%+v", s)
		}
	}
}

func TestBenchSendUsage(t *testing.T) {
	for _, args := range [][]string{
		{"--only", "pcap"}, {"--rounds", "0"}, {"--packets", "10"}, {"--clashing", "1"}, {"--require", "flood/rust>=1"},
		{"--require", "flood/udpclash>=1"}, {"--require", "flood/c>1"},
	} {
		var stdout, stderr bytes.Buffer
		if status := run(t.Context(), append([]string{"bench", "send"}, args...), streams{&stdout, &stderr}); status != cli.Usage || !strings.Contains(stderr.String(), args[0]) {
			t.Errorf("%v: exit status %d, %s", args, status, &stderr)
		}
	}
}

func TestSendSampleIsADifference(t *testing.T) {
	var s sendSample
	few, many := sendRun{1000, 12 * time.Millisecond, 30 * time.Millisecond}, sendRun{11000, 32 * time.Millisecond, 80 * time.Millisecond}
	if err := s.between(few, many); err != nil {
		t.Fatal(err)
	}
	if s.Packets != 10_000 || math.Abs(*s.CPUPerPacket-2) > 1e-9 || math.Abs(*s.PerCPUSecond-5e5) > 1 || math.Abs(*s.PacketsPerSecond-2e5) > 1 {
		t.Errorf("%+v", s)
	}
	if err := s.between(many, few); err == nil {
		t.Error("more packets took less time, and that counts")
	}
}

func TestSendFigures(t *testing.T) {
	n := func(v uint64) *uint64 { return &v }
	f := func(v float64) *float64 { return &v }
	fast := func(name string, core float64) sendSample {
		return sendSample{Sender: name, Packets: 1000, CPUPerPacket: f(1e6 / core), PerCPUSecond: f(core), PacketsPerSecond: f(core / 2)}
	}
	samples := []sendSample{
		fast("flood", 100), fast("flood", 300), fast("flood", 200), fast("c", 200),
		{Sender: "clash", Packets: 600, Clashes: n(0)}, {Sender: "clash", Packets: 600, Clashes: n(60)},
		{Sender: "udpclash", Packets: 600, Clashes: n(0)}, {Sender: "udpclash", Packets: 600, Clashes: n(0)},
	}
	r := &sendResult{}
	r.Samples = samples
	required, err := parseRequirements("flood/c>=0.9,clash/udpclash>=1,flood/trafgen>=0.9", senderNames())
	if err != nil {
		t.Fatal(err)
	}
	r.judge(required, map[string]error{"trafgen": errors.New("not installed")})
	by := map[string]float64{}
	for i := range r.Senders {
		by[r.Senders[i].Sender], _ = r.Senders[i].comparable()
	}
	if by["flood"] != 200 || by["c"] != 200 || by["clash"] != 0.05 || by["udpclash"] != 3.0/1200 {
		t.Errorf("%v", by)
	}
	if len(r.Verdict.Failures) != 1 || !strings.Contains(r.Verdict.Failures[0], "flood / trafgen >= 0.9 is required, and was not measured") {
		t.Errorf("%+v", r.Verdict)
	}
	if len(r.Notes) != 2 || !strings.Contains(r.Notes[0], "flood varies by 100 %") || !strings.Contains(r.Notes[1], "no clash in 1200 packets") {
		t.Errorf("%q", r.Notes)
	}
	var text bytes.Buffer
	if err := r.WriteText(&text); err != nil || !strings.Contains(text.String(), "trafgen: not measured: not installed") || !strings.Contains(text.String(), "0.05000 (60 of 1200)") {
		t.Errorf("%v\n%s", err, &text)
	}
	// A clash sender without clashes is no measure of anything.
	r = &sendResult{}
	r.Samples = []sendSample{{Sender: "clash", Packets: 600, Clashes: n(0)}, {Sender: "udpclash", Packets: 600, Clashes: n(1)}}
	r.judge(required[1:2], nil)
	if r.Verdict.OK {
		t.Errorf("%+v", r.Verdict)
	}
}
