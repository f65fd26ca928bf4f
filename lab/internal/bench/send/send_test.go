package send

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"verdictd/lab/internal/bench"
)

func TestSendSampleIsADifference(t *testing.T) {
	var s sample
	few, many := sendRun{1000, 12 * time.Millisecond, 30 * time.Millisecond},
		sendRun{11000, 32 * time.Millisecond, 80 * time.Millisecond}
	if err := s.between(few, many); err != nil {
		t.Fatal(err)
	}
	if s.Packets != 10_000 || math.Abs(*s.CPUPerPacket-2) > 1e-9 || math.Abs(*s.PerCPUSecond-5e5) > 1 ||
		math.Abs(*s.PacketsPerSecond-2e5) > 1 {
		t.Errorf("%+v", s)
	}
	if err := s.between(many, few); err == nil {
		t.Error("more packets took less time, and that counts")
	}
}

func TestSendFigures(t *testing.T) {
	n := func(v uint64) *uint64 { return &v }
	f := func(v float64) *float64 { return &v }
	fast := func(name string, core float64) sample {
		return sample{Sender: name, Packets: 1000, CPUPerPacket: f(1e6 / core), PerCPUSecond: f(core),
			PacketsPerSecond: f(core / 2)}
	}
	samples := []sample{
		fast("flood", 100), fast("flood", 300), fast("flood", 200), fast("c", 200),
		{Sender: "clash", Packets: 600, Clashes: n(0)}, {Sender: "clash", Packets: 600, Clashes: n(60)},
		{Sender: "udpclash", Packets: 600, Clashes: n(0)}, {Sender: "udpclash", Packets: 600, Clashes: n(0)},
	}
	r := &Result{}
	r.Samples = samples
	required, err := bench.ParseRequirements("flood/c>=0.9,clash/udpclash>=1,flood/trafgen>=0.9", Names())
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
	if len(r.Verdict.Failures) != 1 || !strings.Contains(r.Verdict.Failures[0],
		"flood / trafgen >= 0.9 is required, and was not measured") {
		t.Errorf("%+v", r.Verdict)
	}
	if len(r.Notes) != 2 || !strings.Contains(r.Notes[0], "flood varies by 100 %") ||
		!strings.Contains(r.Notes[1], "no clash in 1200 packets") {
		t.Errorf("%q", r.Notes)
	}
	var text bytes.Buffer
	if err := r.WriteText(&text); err != nil ||
		!strings.Contains(text.String(), "trafgen: not measured: not installed") ||
		!strings.Contains(text.String(), "0.05000 (60 of 1200)") {
		t.Errorf("%v\n%s", err, &text)
	}
	// A clash sender without clashes is no measure of anything.
	r = &Result{}
	r.Samples = []sample{{Sender: "clash", Packets: 600, Clashes: n(0)},
		{Sender: "udpclash", Packets: 600, Clashes: n(1)}}
	r.judge(required[1:2], nil)
	if r.Verdict.OK {
		t.Errorf("%+v", r.Verdict)
	}
}
