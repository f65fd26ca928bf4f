package statistics

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Histogram collects times of which a Spread is made, to two significant digits. It
// belongs to one thread.
type Histogram struct {
	counts *hdrhistogram.Histogram
}

// NewHistogram makes one for times up to the longest. What takes more counts as that:
// a program that was stopped (SIGSTOP, a frozen container) takes any time, and goes on.
func NewHistogram(longest time.Duration) *Histogram {
	return &Histogram{hdrhistogram.New(1, int64(longest), 2)}
}

// Record counts a number of times of so many nanoseconds. It allocates nothing.
func (h *Histogram) Record(ns, times int64) {
	// Fails only outside of the histogram's range.
	_ = h.counts.RecordValues(min(max(ns, 0), h.counts.HighestTrackableValue()), times)
}

// Merge adds what another one has.
func (h *Histogram) Merge(o *Histogram) { h.counts.Merge(o.counts) }

// Spread is that of all times.
func (h *Histogram) Spread() Spread {
	us := func(ns int64) float64 { return float64(ns) / float64(time.Microsecond) }
	return Spread{P50: us(h.counts.ValueAtQuantile(50)), P99: us(h.counts.ValueAtQuantile(99)), Max: us(h.counts.Max())}
}
