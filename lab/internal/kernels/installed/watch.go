package installed

import (
	"context"
	"fmt"
	"sync"
	"time"

	"verdictd/internal/nfq"
)

// A watch looks at the kernel's queues all the time: how long nobody reads one in which packets wait, and how many
// wait at most. It is what the queues have to be long enough for.
type watch struct {
	stop context.CancelFunc
	done sync.WaitGroup

	mu   sync.Mutex
	seen seen
	last map[uint16]progress
}

// seen is what happened since somebody asked.
type seen struct {
	dark   time.Duration // the longest time without a verdict while packets waited
	queued uint32        // the most packets that waited in one queue
	full   uint32        // dropped, as a queue or a socket's buffer was full
}

func (s seen) String() string {
	text := fmt.Sprintf("no verdict for %.2f s at most, %d packets waited at most", s.dark.Seconds(), s.queued)
	if s.full > 0 {
		text += fmt.Sprintf(", %d DROPPED AT A FULL QUEUE", s.full)
	}
	return text
}

// progress is how far a queue was.
type progress struct {
	judged, dropped uint32
	since           time.Time // when it was that far first
}

// watchEvery is much shorter than a process takes to start, and costs an emulated machine little.
const watchEvery = 20 * time.Millisecond

func startWatch(ctx context.Context) *watch {
	ctx, stop := context.WithCancel(ctx)
	w := &watch{stop: stop, last: map[uint16]progress{}}
	w.done.Go(func() {
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-tick.C:
				// There is no list before the module is there, and what goes wrong shows as an empty ledger.
				list, _ := nfq.ReadKernelQueues()
				w.note(now, list)
			}
		}
	})
	return w
}

// note takes one look into account.
func (w *watch) note(now time.Time, list []nfq.KernelQueue) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, q := range list {
		at, known := w.last[q.Queue]
		judged, dropped := q.IDSequence-q.Queued, q.QueueDropped+q.UserDropped
		if known && dropped > at.dropped { // else it is another queue of that number
			w.seen.full += dropped - at.dropped
		}
		if !known || judged != at.judged || q.Queued == 0 {
			at.since = now
		}
		at.judged, at.dropped = judged, dropped
		w.last[q.Queue] = at
		w.seen.dark = max(w.seen.dark, now.Sub(at.since))
		w.seen.queued = max(w.seen.queued, q.Queued)
	}
}

// take is what has been seen since it was taken last.
func (w *watch) take() seen {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.seen
	w.seen = seen{}
	return s
}

// end ends it.
func (w *watch) end() {
	w.stop()
	w.done.Wait()
}
