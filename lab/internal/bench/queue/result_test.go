package queue

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"verdictd/lab/internal/bench"
)

// judged is a result of rounds in which mmsg took 2 and c 4 microseconds, and gonfqueue was not there.
func judged(t *testing.T, require string, more ...sample) *Result {
	t.Helper()
	required, err := bench.ParseRequirements(require, figureNames(variants))
	if err != nil {
		t.Fatal(err)
	}
	b := &Result{}
	b.Settings.DaemonCPU = 1
	b.Samples = []sample{
		{Round: 1, Variant: "mmsg", CPUPerPacket: 2, PacketsPerSecond: 1000},
		{Round: 1, Variant: "c", CPUPerPacket: 4, PacketsPerSecond: 500},
		{Round: 2, Variant: "mmsg", CPUPerPacket: 2, PacketsPerSecond: 1000},
		{Round: 2, Variant: "c", CPUPerPacket: 4, PacketsPerSecond: 500},
	}
	b.Samples = append(b.Samples, more...)
	b.judge(variants, required, map[string]error{"gonfqueue": errors.New("it is not built")})
	return b
}

func TestJudgeBench(t *testing.T) {
	for _, test := range []struct {
		require string
		more    []sample
		ok      bool
		says    string
	}{
		{"", nil, true, "no bounds were required"},
		{"mmsg/c<=0.5", nil, true, "mmsg / c is 0.500, at most 0.5"},
		{"mmsg/c<=0.49", nil, false, "mmsg / c is 0.500, more than 0.49"},
		{"c/mmsg<=2", nil, true, "c / mmsg is 2.000, at most 2"},
		{"mmsg/c<=1,mmsg/gonfqueue<=1", nil, false, "mmsg / gonfqueue <= 1 is required, and was not measured"},
		{"", []sample{{Round: 3, Variant: "mmsg", CPUPerPacket: 9, Invalid: "lost some"}}, false,
			"mmsg, round 3 does not count: lost some"},
		// The invalid round is no part of the median.
		{"mmsg/c<=0.5", []sample{{Round: 3, Variant: "c", CPUPerPacket: 0.1, Invalid: "lost some"}}, false,
			"c, round 3 does not count"},
		{"mmsg/c<=0.5", []sample{{Round: 3, Variant: "mmsg", CPUPerPacket: 2.6, PacketsPerSecond: 1}}, true,
			"mmsg varies by 30 % of its median"},
	} {
		b := judged(t, test.require, test.more...)
		var text bytes.Buffer
		if err := b.WriteText(&text); err != nil {
			t.Fatal(err)
		}
		if b.Verdict.OK != test.ok || !strings.Contains(text.String(), test.says) {
			t.Errorf("%q %v: ok is %v, want %v and %q in:\n%s", test.require, test.more, b.Verdict.OK, test.ok,
				test.says, &text)
		}
		if !strings.Contains(text.String(), "gonfqueue: not measured: it is not built") {
			t.Errorf("it does not say why a variant is missing:\n%s", &text)
		}
		for i := range b.Ratios {
			if r := &b.Ratios[i]; r.Over == "mmsg" && r.Under == "c" && math.Abs(*r.Ratio-0.5) > 1e-9 {
				t.Errorf("%q: mmsg / c is %v", test.require, *r.Ratio)
			}
		}
	}
}

func TestJudgeInterruptedBench(t *testing.T) {
	b := judged(t, "")
	b.Interrupted = true
	b.judge(variants, nil, nil)
	if b.Verdict.OK || b.Variants[2].NotMeasured != "interrupted" {
		t.Errorf("verdict %+v, %+v", b.Verdict, b.Variants[2])
	}
}
