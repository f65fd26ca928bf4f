package bench

import (
	"testing"
)

func TestSpread(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   Spread
	}{
		{[]float64{3}, Spread{3, 3, 3}},
		{[]float64{4, 2}, Spread{3, 2, 4}},
		{[]float64{9, 1, 2}, Spread{2, 1, 9}},
		{[]float64{4, 1, 3, 2}, Spread{2.5, 1, 4}},
	} {
		if got := NewSpread(test.values); *got != test.want {
			t.Errorf("%v: %v, want %v", test.values, *got, test.want)
		}
	}
	if got := NewSpread(nil); got != nil {
		t.Errorf("nothing: %v", got)
	}
	if got := (&Spread{2, 1.5, 2.5}).Relative(); got != 0.5 {
		t.Errorf("relative width %v, want 0.5", got)
	}
}
