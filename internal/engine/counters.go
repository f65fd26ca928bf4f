package engine

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Counters are what a worker counts. Every packet received is either accepted,
// dropped, guard-dropped, re-injected, filtered, given back or handed over, or its
// re-injection failed.
type Counters struct {
	// Received packets, of which a policy let Accepted pass as they were and
	// Dropped dropped.
	Received uint64 `json:"received"`
	Accepted uint64 `json:"accepted"`
	Dropped  uint64 `json:"dropped"`
	// EntryKnown packets told whether their conntrack entry is confirmed: by the
	// queue that they came in, or by what the kernel attached.
	EntryKnown uint64 `json:"entry_known"`
	// First packets of flows, and Further ones that came while their flow had
	// not settled: each would have been a clash.
	First   uint64 `json:"first"`
	Further uint64 `json:"further"`
	// Reinjected packets were sent anew; Filtered ones of these a rule behind
	// the queue dropped. Where that failed (ReinjectFailed) the packet was accepted
	// as it was.
	Reinjected     uint64 `json:"reinjected"`
	Filtered       uint64 `json:"reinject_filtered"`
	ReinjectFailed uint64 `json:"reinject_failed"`
	// LookedUp further packets were asked conntrack about, at INPUT and FORWARD.
	LookedUp uint64 `json:"looked_up"`
	// GivenBack further packets were let go as they were at INPUT and FORWARD, as
	// conntrack had no entry of the flow that they could clash with.
	GivenBack uint64 `json:"given_back"`
	// GuardDropped further packets were dropped, as guard mode drop wants it.
	GuardDropped uint64 `json:"guard_dropped"`
	// HandedOver packets met a flow that another queue judged; Adopted ones came
	// from other queues, and are among Reinjected.
	HandedOver uint64 `json:"handed_over"`
	Adopted    uint64 `json:"adopted"`
	// TableFull packets found no room in the flow table; they are among Further.
	TableFull uint64 `json:"table_full"`
	// Looped packets carried the guard's mark and were queued all the same: the
	// rules do not let it pass. They are accepted.
	Looped uint64 `json:"looped"`
	// Unguarded packets were given back though they may clash, as a copy would do
	// harm: multicast outside OUTPUT, what Config.DNAT says, and at INPUT and FORWARD
	// those that no Prover answers for.
	Unguarded uint64 `json:"unguarded"`
	// Truncated packets were longer than the copy range, Undecodable ones are no
	// IP packets; for the latter the policy's default is the verdict.
	Truncated   uint64 `json:"truncated"`
	Undecodable uint64 `json:"undecodable"`
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
	c.EntryKnown += o.EntryKnown
	c.First += o.First
	c.Further += o.Further
	c.Reinjected += o.Reinjected
	c.Filtered += o.Filtered
	c.ReinjectFailed += o.ReinjectFailed
	c.LookedUp += o.LookedUp
	c.GivenBack += o.GivenBack
	c.GuardDropped += o.GuardDropped
	c.HandedOver += o.HandedOver
	c.Adopted += o.Adopted
	c.TableFull += o.TableFull
	c.Looped += o.Looped
	c.Unguarded += o.Unguarded
	c.Truncated += o.Truncated
	c.Undecodable += o.Undecodable
	c.VerdictErrors += o.VerdictErrors
	c.Malformed += o.Malformed
	c.Batches += o.Batches
}

// Latency is how long verdicts took, in microseconds: from the return of the
// receive that brought the packet to the return of the send that carried its
// verdict.
type Latency struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// newHistogram counts nanoseconds up to a minute, to two significant digits.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, int64(time.Minute), 2)
}

func latency(h *hdrhistogram.Histogram) Latency {
	const us = 1000
	return Latency{
		P50: float64(h.ValueAtQuantile(50)) / us,
		P99: float64(h.ValueAtQuantile(99)) / us,
		Max: float64(h.Max()) / us,
	}
}
