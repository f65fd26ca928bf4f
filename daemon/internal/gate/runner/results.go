package runner

import (
	"time"

	"verdictd/internal/nfq"
	"verdictd/internal/statistics"
)

// counted is what one look at a worker brings.
type counted struct {
	statistics.GateThread
	lastID []uint32
}

// lookWithin bounds how long a look at a worker's counters waits for it. A worker
// takes longer only where it is stuck, or has no CPU.
const lookWithin = 100 * time.Millisecond

// look brings w.counted up to date, and reports whether the worker let it.
func (w *worker) look() bool {
	c := &w.counted
	if c.lastID == nil {
		c.lastID = make([]uint32, len(w.lastID))
	}
	seen := w.window.Look(lookWithin, func() {
		c.Flows, c.AskErrors, c.Transport = w.table.Counters, w.askErrors, w.queue.Stats()
		copy(c.lastID, w.lastID)
		w.firstUS.Swap()
		w.heldUS.Swap()
	})
	if seen {
		c.FirstUS, c.HeldUS = w.firstUS.Spread(), w.heldUS.Spread()
	}
	return seen
}

// Results lists what the threads have counted so far, and their sum. Of a thread that
// does not answer it has what was known before.
func (g *Gate) Results() (queues []statistics.GateThread, total statistics.GateThread) {
	g.reading.Lock()
	defer g.reading.Unlock()
	for _, w := range g.workers {
		w.look()
		statistics.Add(&total, &w.counted.GateThread)
		queues = append(queues, w.counted.GateThread)
	}
	total.ListFailed += g.lister.failed.Load()
	total.Barriers = g.watcher.barred.Load()
	return queues, total
}

// Moving tells for each thread whether it answers: one that does not is stuck.
func (g *Gate) Moving() (threads []bool) {
	for _, w := range g.workers {
		threads = append(threads, w.window.Look(lookWithin, func() {}))
	}
	return threads
}

// Drops are the gate's packets that the kernel dropped by itself, and those that it
// let pass behind the last one that was received: after Stop, as until then they may
// wait in the socket.
func (g *Gate) Drops(queues []nfq.KernelQueue) (queueDropped, userDropped, passed uint64) {
	g.reading.Lock()
	defer g.reading.Unlock()
	for _, q := range queues {
		if !g.cfg.owns(q.Queue) {
			continue
		}
		queueDropped += uint64(q.QueueDropped)
		userDropped += uint64(q.UserDropped)
		if !g.ended.Load() {
			continue
		}
		n := int(q.Queue - g.cfg.FirstQueue)
		w := g.workers[n%g.cfg.Queues]
		last := w.counted.lastID
		if i := n / g.cfg.Queues; i < len(last) && (last[i] != 0 || !w.restores) {
			passed += uint64(q.IDSequence - last[i])
		}
	}
	return queueDropped, userDropped, passed
}

// longestTime is what the gate's times are told up to.
const longestTime = 5 * time.Minute

func newHistogram() *statistics.Histogram { return statistics.NewHistogram(longestTime) }
