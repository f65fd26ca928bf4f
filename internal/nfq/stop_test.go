package nfq_test

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/nfq"
	"verdictd/internal/ruleset"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// TestStopJudgesWhatHasArrived stops a queue behind a backlog.
func TestStopJudgesWhatHasArrived(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend vocabulary.Backend) {
		testkit.Namespace(t)
		s := newSocket(t)
		q := open(t, backend, nfq.Config{})
		rules(t, 1, nil)
		const sent = 100
		for range sent {
			s.send("hey")
		}
		stop := run(t, q, func(nfq.Packet) nfq.Reply {
			time.Sleep(100 * time.Microsecond)
			return nfq.Reply{Verdict: nfq.Accept}
		})
		stop()
		if got := s.receive(sent); len(got) != sent {
			t.Fatalf("%d of %d packets were judged before the queue closed", len(got), sent)
		}
	})
}

// TestVanishedPackets answers packets that the kernel has flushed meanwhile.
func TestVanishedPackets(t *testing.T) {
	testkit.Namespace(t)
	s := newSocket(t)
	refused := make(chan struct{}, 2)
	q := open(t, vocabulary.BackendMmsg, nfq.Config{OnRefused: func(uint32, uint32, unix.Errno) { refused <- struct{}{} }})
	rules(t, 1, nil)
	s.send("one")
	s.send("two")
	held, removed := make(chan struct{}, 2), make(chan struct{})
	stop := run(t, q, func(nfq.Packet) nfq.Reply {
		held <- struct{}{}
		<-removed
		return nfq.Reply{Verdict: nfq.Accept}
	})
	<-held
	if err := ruleset.Remove("nfqtest"); err != nil { // its chain's packets are dropped
		t.Fatal(err)
	}
	close(removed)
	select {
	case <-refused:
	case <-time.After(patience):
		t.Error("the kernel did not refuse a verdict on what it had dropped")
	}
	got := s.receive(0)
	stop()
	if len(got) != 0 {
		t.Errorf("arrived: %q, though the kernel had dropped both", got)
	}
	// A batch verdict on nothing is one refusal.
	if n := q.Stats().VerdictErrors; n == 0 {
		t.Error("no refusal was counted")
	}
}
