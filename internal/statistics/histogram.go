package statistics

import (
	"math"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// digits of a time are kept.
const digits = 2

// Histogram collects times of which a Spread is made, to two significant digits. It
// belongs to one thread; see [Window] for how others read it.
type Histogram struct {
	now   *part // what Record adds to
	spare *part // what Swap puts in its place
	all   *part // what was gathered so far
}

type part struct {
	counts *hdrhistogram.Histogram
	sum    int64 // of all times, in nanoseconds
}

func newPart(longest int64) *part { return &part{counts: hdrhistogram.New(1, longest, digits)} }

// NewHistogram makes one for times up to the longest. What takes more counts as that:
// a program that was stopped (SIGSTOP, a frozen container) takes any time, and goes on.
func NewHistogram(longest time.Duration) *Histogram {
	n := int64(longest)
	return &Histogram{newPart(n), newPart(n), newPart(n)}
}

// Record counts a number of times of so many nanoseconds. It allocates nothing.
func (h *Histogram) Record(ns, times int64) {
	p := h.now
	ns = min(max(ns, 0), p.counts.HighestTrackableValue())
	// Fails only outside of the histogram's range.
	_ = p.counts.RecordValues(ns, times)
	p.sum += ns * times
}

// Swap has the times recorded so far stand still for Spread: the owner's part of
// reading a histogram, and all that is to be done while it stands still.
func (h *Histogram) Swap() { h.now, h.spare = h.spare, h.now }

// Spread is that of all times until the last Swap. It may be called while the owner
// records, by one goroutine at a time.
func (h *Histogram) Spread() Spread {
	h.all.counts.Merge(h.spare.counts)
	h.all.sum += h.spare.sum
	h.spare.counts.Reset()
	h.spare.sum = 0
	return newSpread(&Times{counts: h.all.counts.Clone(), sum: h.all.sum})
}

// Times are how often something took how long. Nobody changes them.
type Times struct {
	counts *hdrhistogram.Histogram
	sum    int64
}

// Count is how many times there are, and their sum.
func (t *Times) Count() (n uint64, sum time.Duration) {
	return uint64(t.counts.TotalCount()), time.Duration(t.sum)
}

// Below tells for each of ascending bounds how many times are up to it. Times are known
// to a hundredth.
func (t *Times) Below(bounds []time.Duration) []uint64 {
	below := make([]uint64, len(bounds))
	for _, bar := range t.counts.Distribution() {
		if bar.Count > 0 {
			i, _ := slices.BinarySearch(bounds, time.Duration(middle(bar)))
			if i < len(below) {
				below[i] += uint64(bar.Count)
			}
		}
	}
	for i := 1; i < len(below); i++ {
		below[i] += below[i-1]
	}
	return below
}

// Exponential counts the times in seconds whose logarithm to the base of 2 is in the
// same step of 1/steps, by the step's upper end, and those of 0, as a native histogram
// of Prometheus has them.
func (t *Times) Exponential(steps int) (counts map[int]int64, zero uint64) {
	counts = map[int]int64{}
	for _, bar := range t.counts.Distribution() {
		switch m := middle(bar); {
		case bar.Count == 0:
		case m == 0:
			zero += uint64(bar.Count)
		default:
			counts[int(math.Ceil(math.Log2(time.Duration(m).Seconds())*float64(steps)))] += bar.Count
		}
	}
	return counts, zero
}

func middle(bar hdrhistogram.Bar) int64 { return bar.From + (bar.To-bar.From)/2 }

// newSpread is the spread of times.
func newSpread(t *Times) Spread {
	us := func(ns int64) float64 { return float64(ns) / float64(time.Microsecond) }
	h := t.counts
	return Spread{P50: us(h.ValueAtQuantile(50)), P99: us(h.ValueAtQuantile(99)), Max: us(h.Max()), Times: t}
}

// add has a spread be that of the times of another as well.
func (s *Spread) add(of *Spread) {
	switch {
	case of.Times == nil:
	case s.Times == nil:
		*s = *of
	default:
		counts := s.Times.counts.Clone()
		counts.Merge(of.Times.counts)
		*s = newSpread(&Times{counts: counts, sum: s.Times.sum + of.Times.sum})
	}
}
