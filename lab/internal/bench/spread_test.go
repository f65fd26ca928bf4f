package bench

import (
	"math"
	"testing"
)

func near(a, b *Spread) bool {
	const most = 1e-9
	return math.Abs(a.Median-b.Median) < most && math.Abs(a.Q1-b.Q1) < most && math.Abs(a.Q3-b.Q3) < most &&
		a.Min == b.Min && a.Max == b.Max
}

func TestSpread(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   Spread
	}{
		{[]float64{3}, Spread{3, 3, 3, 3, 3}},
		{[]float64{4, 2}, Spread{3, 2, 4, 2, 4}},
		{[]float64{9, 1, 5}, Spread{5, 1 + 2./3, 8 + 1./3, 1, 9}},
		{[]float64{4, 1, 3, 2, 5, 6, 8, 7, 9}, Spread{5, 2 + 2./3, 7 + 1./3, 1, 9}},
	} {
		if got := NewSpread(test.values); !near(got, &test.want) {
			t.Errorf("%v: %v, want %v", test.values, *got, test.want)
		}
	}
	if got := NewSpread(nil); got != nil {
		t.Errorf("nothing: %v", got)
	}
	if got := (&Spread{Median: 2, Min: 1.5, Max: 2.5}).Relative(); got != 0.5 {
		t.Errorf("relative width %v, want 0.5", got)
	}
}
