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

// TestOthers has packets reach three queues of one socket in turn: they keep their
// order, and each is answered in its queue.
func TestOthers(t *testing.T) {
	for _, batch := range []int{1, 64} {
		t.Run(fmt.Sprintf("batch %d", batch), func(t *testing.T) {
			testkit.Namespace(t)
			s := newSocket(t)
			q := open(t, vocabulary.BackendMmsg, nfq.Config{Others: []uint16{2, 1}, Batch: batch})
			rules(t, 3, func(c *ruleset.Config) { c.Fanout = vocabulary.FanoutNumgen })
			const sent = 60
			var want []string
			for i := range sent {
				want = append(want, fmt.Sprint(i))
				s.send(want[i]) // before anybody judges, so that batches are mixed
			}
			var seen []uint8
			stop := run(t, q, func(p nfq.Packet) nfq.Reply {
				seen = append(seen, p.Of)
				return nfq.Reply{Verdict: nfq.Accept, Of: p.Of}
			})
			got := s.receive(300 * time.Millisecond)
			stop()
			if !slices.Equal(got, want) {
				t.Errorf("arrived: %q", got)
			}
			turn := []uint8{0, 2, 1} // the queues 0, 1, 2
			for i, of := range seen {
				if of != turn[(i+slices.Index(turn, seen[0]))%3] {
					t.Fatalf("queues in turn: %v", seen)
				}
			}
			if n := q.Stats().VerdictErrors; n != 0 {
				t.Errorf("%d verdicts were refused", n)
			}
		})
	}
}

// TestOthersRefusals: the number that is taken is named, whichever it is, and
// nothing stays bound.
func TestOthersRefusals(t *testing.T) {
	testkit.Namespace(t)
	holder := open(t, vocabulary.BackendMmsg, nfq.Config{Queue: 5})
	defer func() { _ = holder.Close() }()
	for _, cfg := range []nfq.Config{
		{Queue: 5, Others: []uint16{6, 7}}, {Queue: 6, Others: []uint16{5, 7}}, {Queue: 7, Others: []uint16{6, 5}, Batch: 1},
	} {
		_, err := nfq.OpenMmsg(cfg)
		var inUse *nfq.InUseError
		if !errors.As(err, &inUse) || inUse.Queue != 5 {
			t.Errorf("queues %d and %v: %v; want that 5 is held", cfg.Queue, cfg.Others, err)
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
	for _, others := range [][]uint16{{0}, {1, 1}, make([]uint16, 256)} {
		if _, err := nfq.OpenMmsg(nfq.Config{Others: others}); err == nil {
			t.Errorf("others %v were accepted", others)
		}
	}
	if _, err := nfq.OpenGonf(nfq.Config{Others: []uint16{1}}); !errors.Is(err, nfq.ErrUnsupported) {
		t.Errorf("go-nfqueue with two queues: %v, want ErrUnsupported", err)
	}
	q := open(t, vocabulary.BackendMmsg, nfq.Config{Queue: 9})
	defer func() { _ = q.Close() }()
	if err := q.Reply(&nfq.Reply{Verdict: nfq.Accept, Of: 1}); !errors.Is(err, nfq.ErrNoQueue) {
		t.Errorf("a reply in a second queue: %v, want ErrNoQueue", err)
	}
}
