package nfq_test

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"verdictd/internal/nfnl"
	"verdictd/internal/nfq"
	"verdictd/internal/testkit"
)

// TestWait: who holds packets is called when a time is over, though nothing comes, and is
// waited for without end where he says so.
func TestWait(t *testing.T) {
	testkit.Namespace(t)
	s := newSocket(t)
	var held, answered, empty atomic.Int32
	q := openMmsg(t, nfq.Config{Wait: func() time.Duration {
		if held.Load() > answered.Load() {
			return time.Millisecond
		}
		return nfnl.Forever
	}})
	rules(t, 1, nil)
	ended := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		var first nfq.Packet
		ended <- q.Run(func(b *nfq.Batch) error {
			if len(b.Packets) > 0 {
				first = b.Packets[0]
				held.Add(1)
				return nil
			}
			if empty.Add(1) != 3 {
				return nil
			}
			answered.Add(1)
			if err := q.Reply(&nfq.Reply{ID: first.ID, Verdict: nfq.Accept}); err != nil {
				return err
			}
			return q.Flush()
		})
	}()
	s.send("hey")
	if got := s.receive(1); len(got) != 1 {
		t.Errorf("%d packets arrived, want the one that was held", len(got))
	}
	if n := empty.Load(); n != 3 {
		t.Errorf("called %d times with nothing, want 3", n)
	}
	if err := q.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
