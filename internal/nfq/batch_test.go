package nfq_test

import (
	"errors"
	"runtime"
	"sync/atomic"
	"testing"

	"verdictd/internal/nfq"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// TestAll: a batch behind which nothing waits says so, as what waits for a time is given up by that.
func TestAll(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend vocabulary.Backend) {
		testkit.Namespace(t)
		s := newSocket(t)
		q := open(t, backend, nfq.Config{})
		rules(t, 1, nil)
		var seen, all atomic.Int32
		ended := make(chan error, 1)
		go func() {
			runtime.LockOSThread()
			ended <- q.Run(func(b *nfq.Batch) error {
				for i := range b.Packets {
					if seen.Add(1); b.All {
						all.Add(1)
					}
					if err := q.Reply(&nfq.Reply{ID: b.Packets[i].ID, Verdict: nfq.Accept}); err != nil {
						return err
					}
				}
				return q.Flush()
			})
		}()
		const sent = 3
		for i := range sent {
			s.send("n")
			await(t, "the packet", func() bool { return seen.Load() > int32(i) })
		}
		if err := errors.Join(q.Stop(), <-ended, q.Close()); err != nil || all.Load() != sent {
			t.Errorf("%d of %d batches say that they are all (%v)", all.Load(), sent, err)
		}
	})
}
