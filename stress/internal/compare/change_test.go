package compare

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// draws of a measurement with a median of 1000 and some noise, of which a tenth are outliers: what a shared machine
// gives.
func draws(r *rand.Rand, n int, scale float64) []float64 {
	out := make([]float64, n)
	for i := range out {
		v := 1000 * (1 + 0.02*r.NormFloat64())
		if r.IntN(10) == 0 {
			v *= 1 - 0.1*r.Float64()
		}
		out[i] = v * scale
	}
	return out
}

// A planted change of 10% is found in 8 samples each, and none in two halves of the same run. The rates that this logs
// are those that docs/results.md states.
func TestErrorRates(t *testing.T) {
	const trials, alpha = 200, 0.05
	r := rand.New(rand.NewPCG(1, 2))
	missed, wrong, outside := 0, 0, 0
	for range trials {
		before, after := draws(r, 8, 1), draws(r, 8, 0.9)
		c := newChange("packets_per_second", before, after, alpha)
		if c.Judgement != Worse {
			missed++
		}
		if shift := -100.; *c.Low > shift || *c.High < shift {
			outside++
		}
		run := draws(r, 16, 1)
		if c := newChange("packets_per_second", run[:8], run[8:], alpha); c.Judgement != Same {
			wrong++
		}
	}
	t.Logf("of %d draws: %d planted changes missed, %d changes seen where there were none, %d intervals without the true shift", trials, missed, wrong, outside)
	if missed > trials/20 {
		t.Errorf("%d of %d planted changes of 10%% were missed", missed, trials)
	}
	// Both are binomial with p = 0.05 at most: more than 21 of 200 come by chance once in a thousand.
	if wrong > 21 {
		t.Errorf("%d of %d equal halves were told apart", wrong, trials)
	}
	if outside > 21 {
		t.Errorf("%d of %d intervals do not have the true shift", outside, trials)
	}
}

func TestFewSamples(t *testing.T) {
	low, high := []float64{1, 2, 3, 4}, []float64{11, 12, 13, 14}
	if c := newChange("lost", low[:3], high[:3], 0.05); c.Judgement != Unknown || c.P != nil || c.Low != nil {
		t.Errorf("3 samples each: %+v, want unknown, as p cannot be below 0.1", c)
	}
	if c := newChange("lost", low, high, 0.05); c.Judgement != Worse || c.Low == nil || *c.Low != 7 || *c.High != 13 {
		t.Errorf("4 samples each: %+v, want worse, by 7 to 13", c)
	}
	if c := newChange("lost", low, high, 0.01); c.Judgement != Unknown {
		t.Errorf("4 samples each at 0.01: %+v, want unknown", c)
	}
	if c := newChange("lost", nil, high, 0.05); c.Judgement != Unknown || c.Before != nil || *c.After != 12.5 {
		t.Errorf("no samples before: %+v", c)
	}
	if c := newChange("lost", []float64{0, 0, 0}, []float64{0, 0, 0}, 0.05); c.Judgement != Same || !c.constant {
		t.Errorf("nothing but zeros: %+v, want same", c)
	}
}

// Both ways to the rank agree where they meet.
func TestRankIsContinuous(t *testing.T) {
	for _, alpha := range []float64{0.1, 0.05, 0.01} {
		below, above := rank(20, 20, alpha), rank(20, 21, alpha)
		if below <= 0 || above <= below || float64(above) > 1.15*float64(below) {
			t.Errorf("alpha %g: rank %d for 400 pairs, %d for 420", alpha, below, above)
		}
	}
	r := rand.New(rand.NewPCG(3, 4))
	c := newChange("packets_per_second", draws(r, 100, 1), draws(r, 100, 1.02), 0.05)
	if c.Judgement != Better || *c.Low > 20 || *c.High < 20 {
		t.Errorf("2%% more in 100 samples each: %+v", c)
	}
}

func TestDirection(t *testing.T) {
	for figure, want := range map[string]Direction{
		"packets_per_second": Higher, "verdict_latency_us.p99": Lower, "echo.lost": Lower, "held": Neutral,
		"latency_us.max": Lower,
	} {
		if got := direction(figure); got != want {
			t.Errorf("%s: %d, want %d", figure, got, want)
		}
	}
}

func TestMedian(t *testing.T) {
	v := []float64{3, 1, 2, 10}
	if got := median(v); got != 2.5 || !slices.Equal(v, []float64{3, 1, 2, 10}) {
		t.Errorf("median %g of %v", got, v)
	}
	if got := median([]float64{math.Inf(1), 1, 2}); got != 2 {
		t.Errorf("median %g", got)
	}
}
