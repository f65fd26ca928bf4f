package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"verdictd/internal/statistics"
)

// bounds are those of classic histograms: from what an idle machine takes for a verdict
// to what nobody waits for.
var bounds = []time.Duration{
	10 * time.Microsecond, 25 * time.Microsecond, 50 * time.Microsecond,
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// Native histograms have 2^schema buckets for each power of two; what is below the
// threshold counts as zero (the values of client_golang's own by default).
const (
	schema        = 3
	zeroThreshold = 2.938735877055719e-39
)

// times is a histogram that is classic and native at once, which client_golang makes of
// observations only, one by one.
type times struct {
	prometheus.Metric // the native one
	below             []uint64
}

func newTimes(desc *prometheus.Desc, t *statistics.Times, labels ...string) prometheus.Metric {
	n, sum := t.Count()
	counts, zero := t.Exponential(1 << schema)
	m, err := prometheus.NewConstNativeHistogram(
		desc, n, sum.Seconds(), counts, nil, zero, schema, zeroThreshold, time.Time{}, labels...)
	if err != nil {
		return prometheus.NewInvalidMetric(desc, err)
	}
	return &times{m, t.Below(bounds)}
}

// Write implements prometheus.Metric.
func (t *times) Write(to *dto.Metric) error {
	if err := t.Metric.Write(to); err != nil {
		return err
	}
	for i, n := range t.below {
		to.Histogram.Bucket = append(to.Histogram.Bucket, &dto.Bucket{
			UpperBound: new(bounds[i].Seconds()), CumulativeCount: new(n),
		})
	}
	return nil
}
