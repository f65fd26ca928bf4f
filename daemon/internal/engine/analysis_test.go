package engine

import (
	"math"
	"slices"
	"testing"
	"time"

	"verdictd/internal/packet"
	"verdictd/internal/vocabulary"
)

func TestDraw(t *testing.T) {
	const n, delay = 20000, time.Millisecond
	for name, test := range map[string]struct {
		a           Analysis
		least, most time.Duration
		median      time.Duration
	}{
		"fixed":           {Analysis{Distribution: vocabulary.DistributionFixed}, delay, delay, delay},
		"uniform":         {Analysis{Distribution: vocabulary.DistributionUniform}, 0, 2 * delay, delay},
		"lognormal":       {Analysis{Distribution: vocabulary.DistributionLogNormal, Sigma: 1}, 1, math.MaxInt64, delay},
		"lognormal, cut":  {Analysis{Distribution: vocabulary.DistributionLogNormal, Sigma: 1, Max: 2 * delay}, 1, 2 * delay, delay},
		"lognormal, flat": {Analysis{Distribution: vocabulary.DistributionLogNormal}, delay, delay, delay},
	} {
		t.Run(name, func(t *testing.T) {
			test.a.Delay = delay
			drawn := make([]time.Duration, n)
			analyst := newAnalyst(test.a, 42)
			for i := range drawn {
				drawn[i] = analyst.draw()
			}
			slices.Sort(drawn)
			if drawn[0] < test.least || drawn[n-1] > test.most {
				t.Errorf("drawn from %v to %v, want %v to %v", drawn[0], drawn[n-1], test.least, test.most)
			}
			if m := drawn[n/2]; m < test.median*95/100 || m > test.median*105/100 {
				t.Errorf("median %v, want some %v", m, test.median)
			}
		})
	}
}

func TestSpend(t *testing.T) {
	if newAnalyst(Analysis{}, 0) != nil || newAnalyst(Analysis{Distribution: vocabulary.DistributionNone}, 0) != nil {
		t.Error("an analysis without a distribution has an analyst")
	}
	var a, b packet.Key
	b[0] = 1
	spent := func(n *analyst, k *packet.Key) bool {
		start := time.Now()
		took := n.spend(k)
		if took != (time.Since(start) >= n.Delay) {
			t.Errorf("says %v after %v", took, time.Since(start))
		}
		return took
	}
	each := newAnalyst(Analysis{Distribution: vocabulary.DistributionFixed, Delay: 2 * time.Millisecond}, 0)
	for range 2 {
		if !spent(each, &a) {
			t.Error("a packet was not analysed")
		}
	}
	flows := newAnalyst(Analysis{Distribution: vocabulary.DistributionFixed, Delay: 2 * time.Millisecond, PerFlow: true}, 0)
	for _, k := range []*packet.Key{&a, &b} {
		if !spent(flows, k) {
			t.Error("a flow's first packet was not analysed")
		}
		if spent(flows, k) {
			t.Error("a flow's second packet was analysed")
		}
	}
}

func TestAnalysisErrors(t *testing.T) {
	for _, a := range []Analysis{
		{Distribution: "normal", Delay: 1},
		{Distribution: vocabulary.DistributionFixed},
		{Distribution: vocabulary.DistributionFixed, Delay: 1, Max: -1},
		{Distribution: vocabulary.DistributionLogNormal, Delay: 1, Sigma: -1},
	} {
		if _, err := Open(Config{Judgement: Judgement{Analysis: a}}); err == nil {
			t.Errorf("%+v was accepted", a)
		}
	}
}
