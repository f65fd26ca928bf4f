package runner

import (
	"time"

	"verdictd/internal/nfq"
	"verdictd/internal/statistics"
)

// Results lists what the threads counted, and their sum. To be called after Stop.
func (g *Gate) Results() (queues []statistics.GateThread, total statistics.GateThread) {
	first, held := newHistogram(), newHistogram()
	for _, w := range g.workers {
		c := statistics.GateThread{
			Flows: w.table.Counters, AskErrors: w.askErrors, Transport: w.queue.Stats(),
			FirstUS: w.firstUS.Spread(), HeldUS: w.heldUS.Spread(),
		}
		statistics.Add(&total, &c)
		first.Merge(w.firstUS)
		held.Merge(w.heldUS)
		queues = append(queues, c)
	}
	total.ListFailed += g.lister.failed.Load()
	total.Barriers = g.watcher.barred.Load()
	total.FirstUS, total.HeldUS = first.Spread(), held.Spread()
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

// longestTime is what the gate's times are told up to.
const longestTime = 5 * time.Minute

func newHistogram() *statistics.Histogram { return statistics.NewHistogram(longestTime) }
