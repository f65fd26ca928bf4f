package runner

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"verdictd/daemon/internal/gate"
	"verdictd/internal/nfq"
)

// Counters are what one thread of a gate has counted.
type Counters struct {
	gate.Counters
	// AskErrors are questions that got no answer.
	AskErrors uint64 `json:"ask_errors"`
	// Barriers of the kernel were waited for; in the sum only, as they are for all.
	Barriers uint64 `json:"barriers"`
	// VerdictErrors were refused by the kernel, Malformed messages not understood.
	VerdictErrors uint64 `json:"verdict_errors"`
	Malformed     uint64 `json:"malformed"`
	Batches       uint64 `json:"batches"`
	// FirstUS is from the receipt of a first packet to the return of its verdict,
	// HeldUS from that of a held one, in microseconds.
	FirstUS Spread `json:"first_us"`
	HeldUS  Spread `json:"held_us"`
}

// Spread is how long something took, in microseconds.
type Spread struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Results lists what the threads counted, and their sum. To be called after Stop.
func (g *Gate) Results() (queues []Counters, total Counters) {
	first, held := newHistogram(), newHistogram()
	for _, w := range g.workers {
		s := w.queue.Stats()
		c := Counters{
			Counters: w.table.Counters, AskErrors: w.askErrors,
			VerdictErrors: s.VerdictErrors, Malformed: s.Malformed, Batches: s.Batches,
			FirstUS: spread(w.firstUS), HeldUS: spread(w.heldUS),
		}
		total.Add(&c.Counters)
		total.AskErrors += c.AskErrors
		total.VerdictErrors += c.VerdictErrors
		total.Malformed += c.Malformed
		total.Batches += c.Batches
		first.Merge(w.firstUS)
		held.Merge(w.heldUS)
		queues = append(queues, c)
	}
	total.ListFailed += g.lister.failed.Load()
	total.Barriers = g.watcher.barred.Load()
	total.FirstUS, total.HeldUS = spread(first), spread(held)
	return queues, total
}

// Drops are the gate's packets that the kernel dropped by itself, and those that it
// let pass behind the last one that was received.
func (g *Gate) Drops(queues []nfq.KernelQueue) (queueDropped, userDropped, passed uint64) {
	for _, q := range queues {
		if !g.cfg.owns(q.Queue) {
			continue
		}
		queueDropped += uint64(q.QueueDropped)
		userDropped += uint64(q.UserDropped)
		n := int(q.Queue - g.cfg.FirstQueue)
		if w := g.workers[n%g.cfg.Queues]; w.lastID[n/g.cfg.Queues] != 0 {
			passed += uint64(q.IDSequence - w.lastID[n/g.cfg.Queues])
		}
	}
	return queueDropped, userDropped, passed
}

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, histogramMax, 2)
}

func spread(h *hdrhistogram.Histogram) Spread {
	us := func(ns int64) float64 { return float64(ns) / float64(time.Microsecond) }
	return Spread{us(h.ValueAtQuantile(50)), us(h.ValueAtQuantile(99)), us(h.Max())}
}
