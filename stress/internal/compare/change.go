package compare

import (
	"math"
	"slices"

	"github.com/aclements/go-moremath/stats"
	"golang.org/x/perf/benchmath"
)

// Judgement is what the samples say of a figure.
type Judgement string

// The judgements. Better and Worse are Changed in a figure's direction.
const (
	Same    Judgement = "same"    // no change can be told from chance
	Changed Judgement = "changed" // of a figure that is not better one way than the other
	Better  Judgement = "better"
	Worse   Judgement = "worse"
	Unknown Judgement = "unknown" // too few samples for any answer at this level
)

// Change is one figure of one case.
type Change struct {
	Figure string `json:"figure"`
	// SamplesBefore and SamplesAfter are numbers of samples; the figure is missing on a side that has none.
	SamplesBefore int      `json:"samples_before"`
	SamplesAfter  int      `json:"samples_after"`
	Before        *float64 `json:"before"` // median
	After         *float64 `json:"after"`  // median
	// Percent is the change of the medians, nil where Before is zero or a side is missing.
	Percent *float64 `json:"percent"`
	// Low and High bound the shift between the sides, in the figure's unit, with at least the confidence asked for (the
	// Hodges-Lehmann interval of the U test). They are nil with too few samples.
	Low  *float64 `json:"low"`
	High *float64 `json:"high"`
	// P is the probability of samples as different as these if nothing had changed.
	P         *float64  `json:"p"`
	Judgement Judgement `json:"judgement"`

	after    []float64
	constant bool // the same value in every sample of both sides
}

// newChange compares the samples of a figure. Alpha is the p below which they differ.
func newChange(figure string, before, after []float64, alpha float64) Change {
	c := Change{Figure: figure, SamplesBefore: len(before), SamplesAfter: len(after), Judgement: Unknown, after: after}
	if len(before) > 0 {
		c.Before = new(median(before))
	}
	if len(after) > 0 {
		c.After = new(median(after))
	}
	if len(before) == 0 || len(after) == 0 {
		return c
	}
	if *c.Before != 0 {
		c.Percent = new((*c.After - *c.Before) / math.Abs(*c.Before) * 100)
	}
	all := slices.Concat(before, after)
	c.constant = slices.Min(all) == slices.Max(all)
	k := rank(len(before), len(after), alpha)
	if k > 0 {
		c.Low, c.High = shift(before, after, k)
		if slices.Min(all) >= 0 {
			// What is counted or measured cannot fall by more than all there was.
			*c.Low = max(*c.Low, -*c.Before)
		}
	}
	switch {
	case c.constant:
		c.P, c.Judgement = new(1.), Same
		return c
	case k == 0:
		return c
	}
	t := benchmath.DefaultThresholds
	t.CompareAlpha = alpha
	test := benchmath.AssumeNothing.Compare(benchmath.NewSample(slices.Clone(before), &t),
		benchmath.NewSample(slices.Clone(after), &t))
	c.P = new(test.P)
	c.Judgement = judge(figure, *c.Before, *c.After, test.P < alpha)
	return c
}

func judge(figure string, before, after float64, differ bool) Judgement {
	d := direction(figure)
	switch {
	case !differ:
		return Same
	case d == Neutral || before == after:
		return Changed
	case (after > before) == (d == Higher):
		return Better
	}
	return Worse
}

// exact is the number of pairs up to which the U distribution is computed; beyond it is normal enough.
const exact = 400

// rank is how many pairwise differences at each end are outside the interval. It is zero if even samples that do not
// overlap at all could not be told apart: the least p is 2 in (n+m over n).
func rank(n, m int, alpha float64) int {
	pairs := n * m
	if pairs > exact {
		deviation := math.Sqrt(float64(pairs) * float64(n+m+1) / 12)
		return max(0, int(float64(pairs)/2+stats.InvCDF(stats.StdNormal)(alpha/2)*deviation))
	}
	u := stats.UDist{N1: n, N2: m}
	k := 0
	for k < pairs/2 && 2*u.CDF(float64(k)) < alpha {
		k++
	}
	return k
}

// shift is the Hodges-Lehmann interval: the ends of the pairwise differences in order, without those outside.
func shift(before, after []float64, k int) (low, high *float64) {
	var differences []float64
	for _, a := range after {
		for _, b := range before {
			differences = append(differences, a-b)
		}
	}
	slices.Sort(differences)
	return new(differences[k-1]), new(differences[len(differences)-k])
}

func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}
