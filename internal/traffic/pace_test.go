package traffic

import (
	"math"
	"testing"
	"time"
)

func TestPaceWait(t *testing.T) {
	tests := []struct {
		name    string
		rate    float64
		elapsed time.Duration
		n       uint64
		want    time.Duration
	}{
		{"full speed never waits", 0, 0, 1 << 40, 0},
		{"the first flow is due at once", 10, 0, 0, 0},
		{"the next after one interval", 10, 0, 1, 100 * time.Millisecond},
		{"part of it has passed", 10, 30 * time.Millisecond, 1, 70 * time.Millisecond},
		{"due to the nanosecond", 10, 100 * time.Millisecond, 1, 0},
		{"overdue after a stall", 10, time.Second, 5, 0},
		{"the schedule does not move with the stall", 10, time.Second, 11, 100 * time.Millisecond},
		{"no drift over many flows", 3, 1000 * time.Second, 3000, 0},
		{"less than one a second", 0.5, 0, 1, 2 * time.Second},
		{"no overflow", 1e-9, 0, math.MaxUint64, math.MaxInt64},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := (Pace{tt.rate}).Wait(tt.elapsed, tt.n); got != tt.want {
				t.Errorf("Wait(%v, %d) at %v/s = %v, want %v", tt.elapsed, tt.n, tt.rate, got, tt.want)
			}
		})
	}
}

func TestParsePace(t *testing.T) {
	for text, want := range map[string]Pace{"full": {}, "rate:1": {1}, "rate:20000": {20000}, "rate:0.25": {0.25}} {
		var p Pace
		if err := p.UnmarshalText([]byte(text)); err != nil || p != want {
			t.Errorf("%s: %v, %v; want %v", text, p, err, want)
		}
		if p.String() != text {
			t.Errorf("%s: written as %s", text, p)
		}
	}
	for _, text := range []string{"", "fast", "rate:", "rate:x", "rate:0", "rate:-1", "rate:NaN", "rate:Inf", "1000"} {
		if p, err := ParsePace(text); err == nil {
			t.Errorf("%q: taken as %v", text, p)
		}
	}
}
