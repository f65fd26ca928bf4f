package engine

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Counters are what a worker counts.
type Counters struct {
	// Received packets are either Accepted or Dropped.
	Received uint64 `json:"received"`
	Accepted uint64 `json:"accepted"`
	Dropped  uint64 `json:"dropped"`
	// Undecodable packets have headers that cannot be decoded to their end; what
	// becomes of them is Config.Undecodable. Truncated ones were longer than the copy
	// range.
	Undecodable uint64 `json:"undecodable"`
	Truncated   uint64 `json:"truncated"`
	// VerdictErrors were refused by the kernel, Malformed messages not
	// understood. Batches is how many receives brought packets.
	VerdictErrors uint64 `json:"verdict_errors"`
	Malformed     uint64 `json:"malformed"`
	Batches       uint64 `json:"batches"`
}

// Add adds o.
func (c *Counters) Add(o *Counters) {
	c.Received += o.Received
	c.Accepted += o.Accepted
	c.Dropped += o.Dropped
	c.Undecodable += o.Undecodable
	c.Truncated += o.Truncated
	c.VerdictErrors += o.VerdictErrors
	c.Malformed += o.Malformed
	c.Batches += o.Batches
}

// Latency is how long verdicts took, in microseconds: from the return of the
// receive that brought the packet to the return of the send that carried its
// verdict. What took more than maxLatency counts as that.
type Latency struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

const maxLatency = time.Minute

// newHistogram counts nanoseconds up to maxLatency, to two significant digits.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, int64(maxLatency), 2)
}

// record counts n verdicts that took ns nanoseconds. A program that was stopped
// (SIGSTOP, a frozen container) takes any time, and goes on.
func record(h *hdrhistogram.Histogram, ns, n int64) {
	// Fails only outside of the histogram's range.
	_ = h.RecordValues(min(max(ns, 0), int64(maxLatency)), n)
}

func latency(h *hdrhistogram.Histogram) Latency {
	const us = 1000
	return Latency{
		P50: float64(h.ValueAtQuantile(50)) / us,
		P99: float64(h.ValueAtQuantile(99)) / us,
		Max: float64(h.Max()) / us,
	}
}
