package nfq_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"verdictd/internal/nfq"
	"verdictd/internal/ruleset"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// TestMoreQueues has packets reach three queues of one socket in turn: they keep their
// order, and each is answered in its queue.
func TestMoreQueues(t *testing.T) {
	for _, batch := range []int{1, 64} {
		t.Run(fmt.Sprintf("batch %d", batch), func(t *testing.T) {
			testkit.Namespace(t)
			s := newSocket(t)
			q := open(t, vocabulary.BackendMmsg, nfq.Config{MoreQueues: []uint16{2, 1}, Batch: batch})
			rules(t, 3, func(c *ruleset.Config) { c.Fanout = vocabulary.FanoutNumgen })
			const sent = 60
			var want []string
			for i := range sent {
				want = append(want, fmt.Sprint(i))
				s.send(want[i]) // before anybody judges, so that batches are mixed
			}
			var seen []uint16
			stop := run(t, q, func(p nfq.Packet) nfq.Reply {
				seen = append(seen, p.Queue)
				return nfq.Reply{Verdict: nfq.Accept, Queue: p.Queue}
			})
			got := s.receive(sent)
			stop()
			if !slices.Equal(got, want) {
				t.Errorf("arrived: %q", got)
			}
			turn := []uint16{0, 1, 2}
			for i, queue := range seen {
				if queue != turn[(i+slices.Index(turn, seen[0]))%3] {
					t.Fatalf("queues in turn: %v", seen)
				}
			}
			if n := q.Stats().VerdictErrors; n != 0 {
				t.Errorf("%d verdicts were refused", n)
			}
		})
	}
}

// TestMoreQueuesRefusals: the number that is taken is named, whichever it is, and
// nothing stays bound.
func TestMoreQueuesRefusals(t *testing.T) {
	testkit.Namespace(t)
	holder := open(t, vocabulary.BackendMmsg, nfq.Config{Queue: 5})
	defer func() { _ = holder.Close() }()
	for _, cfg := range []nfq.Config{
		{Queue: 5, MoreQueues: []uint16{6, 7}}, {Queue: 6, MoreQueues: []uint16{5, 7}}, {Queue: 7, MoreQueues: []uint16{6, 5}, Batch: 1},
	} {
		_, err := nfq.OpenMmsg(cfg)
		var inUse *nfq.InUseError
		if !errors.As(err, &inUse) || inUse.Queue != 5 {
			t.Errorf("queues %d and %v: %v; want that 5 is held", cfg.Queue, cfg.MoreQueues, err)
		}
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		queues, err := nfq.ReadKernelQueues()
		if err != nil {
			t.Fatal(err)
		}
		if len(queues) == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("bound: %v; want the holder's alone", queues)
		}
	}
	for _, more := range [][]uint16{{0}, {1, 1}, make([]uint16, 256)} {
		if _, err := nfq.OpenMmsg(nfq.Config{MoreQueues: more}); err == nil {
			t.Errorf("more queues %v were accepted", more)
		}
	}
	if _, err := nfq.OpenGonf(nfq.Config{MoreQueues: []uint16{1}}); !errors.Is(err, nfq.ErrUnsupported) {
		t.Errorf("go-nfqueue with two queues: %v, want ErrUnsupported", err)
	}
	q := open(t, vocabulary.BackendMmsg, nfq.Config{Queue: 9})
	defer func() { _ = q.Close() }()
	if err := q.Reply(&nfq.Reply{Verdict: nfq.Accept, Queue: 1}); !errors.Is(err, nfq.ErrNoQueue) {
		t.Errorf("a reply in a second queue: %v, want ErrNoQueue", err)
	}
}
