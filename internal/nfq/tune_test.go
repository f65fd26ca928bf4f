package nfq_test

import (
	"slices"
	"testing"

	"verdictd/internal/nfq"
	"verdictd/internal/testkit"
)

// TestTune changes an open queue: what waits in it stays, and what comes is queued by the
// new settings.
func TestTune(t *testing.T) {
	testkit.Namespace(t)
	s := newSocket(t)
	q := openMmsg(t, nfq.Config{MaxLength: 5})
	rules(t, 1, nil)
	send := func(n int) {
		for range n {
			s.send("hey")
		}
	}
	tune := func(tuned nfq.Tuned) {
		t.Helper()
		if err := q.Tune(tuned); err != nil {
			t.Fatal(err)
		}
	}
	stands := func(waiting, dropped uint32) {
		t.Helper()
		queues, err := nfq.ReadKernelQueues()
		i := slices.IndexFunc(queues, func(k nfq.KernelQueue) bool { return k.Queue == 0 })
		if err != nil || i < 0 || queues[i].Queued != waiting || queues[i].QueueDropped != dropped {
			t.Errorf("%+v, %v; want %d waiting and %d dropped", queues, err, waiting, dropped)
		}
	}
	send(8)
	stands(5, 3)
	tune(nfq.Tuned{MaxLength: 20, GSO: true})
	send(10)
	stands(15, 3)
	tune(nfq.Tuned{MaxLength: 2}) // what waits is not dropped
	send(1)
	stands(15, 4)
	tune(nfq.Tuned{MaxLength: 2, FailOpen: true})
	send(4)
	stands(15, 4)
	if got := s.receive(4); len(got) != 4 {
		t.Errorf("%d packets passed the full queue, want 4", len(got))
	}
	packets := next(t, q, 15)
	if !packets[14].ChecksumNotReady || packets[0].ChecksumNotReady {
		t.Error("a packet was not queued by the settings of when it came")
	}
	answer(t, q, nfq.Accept, packets...)
	if got := s.receive(15); len(got) != 15 {
		t.Errorf("%d arrived, want all 15 that waited", len(got))
	}
}
