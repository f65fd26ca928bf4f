package guard

import (
	"slices"
	"time"

	"verdictd/internal/nfq"
)

const (
	// quietWithin bounds how long a table stays for what is in queues of others.
	quietWithin = time.Second
	// quietFor tells a queue to which nothing comes any more from one that happens to
	// be empty: many programs are faster than their packets come.
	quietFor = 50 * time.Millisecond
	// quietReadings is as many readings in a row: on a busy machine who sends packets waits
	// for a processor, too, as long as each reading does.
	quietReadings = 20
)

// quiet returns when no packet waits in any queue of the namespace, and none has come
// for a while. Where that takes longer than within it names a queue that is busy.
func quiet(within time.Duration) (busy *nfq.KernelQueue) {
	seen := map[uint16]nfq.KernelQueue{}
	calm := 0
	for began, since := time.Now(), time.Now(); ; time.Sleep(time.Millisecond) {
		queues, err := nfq.ReadKernelQueues()
		if err != nil || len(queues) == 0 {
			return nil
		}
		calm++
		for _, q := range queues {
			if was, known := seen[q.Queue]; q.Queued > 0 || known && was.IDSequence != q.IDSequence {
				busy, since, calm = &q, time.Now(), 0
			}
			seen[q.Queue] = q
		}
		if time.Since(since) > quietFor && calm > quietReadings {
			return nil
		}
		if busy != nil && time.Since(began) >= within {
			return busy
		}
	}
}

// Idle reports whether nothing waits in some of the kernel's queues.
func Idle(of func(queue uint16) bool) bool {
	queues, err := nfq.ReadKernelQueues()
	return err != nil || !slices.ContainsFunc(queues, func(q nfq.KernelQueue) bool { return q.Queued > 0 && of(q.Queue) })
}
