package nfq_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/nfq"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// TestAttach: what is told of packets changes from one packet to the next, with packets
// in the queue.
func TestAttach(t *testing.T) {
	testkit.Namespace(t)
	s := newSocket(t)
	q := openMmsg(t, nfq.Config{})
	rules(t, 1, nil)
	uid := outside(t, "uid", os.Getuid())
	for i, wanted := range []bool{false, true, true, false} {
		if err := q.Attach(nfq.Attached{UIDGID: wanted}); err != nil {
			t.Fatal(err)
		}
		s.send("hey")
		p := next(t, q, 1)[0]
		if p.HasUID != wanted || p.HasGID != wanted || wanted && p.UID != uid {
			t.Errorf("packet %d: uid %d (%v), gid (%v), want %v", i, p.UID, p.HasUID, p.HasGID, wanted)
		}
		answer(t, q, nfq.Accept, p)
	}
	if n := q.Stats().VerdictErrors; n != 0 {
		t.Errorf("%d verdicts were refused", n)
	}
}

// TestTryAttached: a kernel that cannot do it is told before any queue is bound.
func TestTryAttached(t *testing.T) {
	testkit.Namespace(t)
	for _, a := range []nfq.Attached{{}, {UIDGID: true}} {
		if err := a.Try(); err != nil {
			t.Errorf("%+v: %v", a, err)
		}
	}
	err := nfq.Attached{Conntrack: true, UIDGID: true}.Try()
	if err != nil && (!errors.Is(err, unix.EOPNOTSUPP) || !strings.Contains(err.Error(), "NETFILTER_NETLINK_GLUE_CT")) {
		t.Errorf("%v; want none, or what the kernel lacks", err)
	}
	q, opened := nfq.OpenMmsg(nfq.Config{Conntrack: true})
	if opened == nil {
		_ = q.Close()
	}
	if (err == nil) != (opened == nil) {
		t.Errorf("tried: %v; bound: %v", err, opened)
	}
	queues, err := nfq.ReadKernelQueues()
	if err != nil || len(queues) != 0 {
		t.Errorf("queues %v, %v: want none left", queues, err)
	}
}

// TestMarkedBatch: packets with one verdict and one mark are answered as one, and each has
// the mark where it goes on.
func TestMarkedBatch(t *testing.T) {
	testkit.Namespace(t)
	s := newSocket(t)
	first, second := openMmsg(t, nfq.Config{}), openMmsg(t, nfq.Config{Queue: 1})
	rules(t, 1, nil)
	const sent = 20
	for range sent {
		s.send("hey")
	}
	packets := next(t, first, sent)
	for _, p := range packets {
		if err := first.Reply(&nfq.Reply{ID: p.ID, Verdict: nfq.Requeue(1), SetMark: true, Mark: 0x1234}); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.Flush(); err != nil {
		t.Fatal(err)
	}
	packets = next(t, second, sent)
	if i := slices.IndexFunc(packets, func(p nfq.Packet) bool { return p.Mark != 0x1234 }); i >= 0 {
		t.Errorf("packet %d has the mark %#x", i, packets[i].Mark)
	}
	answer(t, second, nfq.Accept, packets...)
	if got := s.receive(200 * time.Millisecond); len(got) != sent {
		t.Errorf("%d arrived, want %d", len(got), sent)
	}
}

// TestGonfAttach: the reference cannot, and says so.
func TestGonfAttach(t *testing.T) {
	testkit.Namespace(t)
	q := open(t, vocabulary.BackendGoNFQueue, nfq.Config{UIDGID: true})
	defer func() { _ = q.Close() }()
	if err := q.Attach(nfq.Attached{UIDGID: true}); err != nil {
		t.Errorf("what it has already: %v", err)
	}
	if err := q.Attach(nfq.Attached{}); !errors.Is(err, nfq.ErrUnsupported) {
		t.Errorf("%v, want ErrUnsupported", err)
	}
}
