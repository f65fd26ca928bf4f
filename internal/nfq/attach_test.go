package nfq_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

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

// TestCopied: how much is copied changes from one packet to the next, as far as there is room, and what waits stays as
// it was copied.
func TestCopied(t *testing.T) {
	testkit.Namespace(t)
	s := newSocket(t)
	q := openMmsg(t, nfq.Config{CopyRange: 512, CopyMost: vocabulary.MaxCopyRange})
	rules(t, 1, nil)
	const headers = 20 + 8
	var waiting []nfq.Packet
	for i, test := range []struct{ length, copied, want int }{
		{3, 512, headers + 3}, {1400, 512, 512}, {8000, 512, 512}, {8000, 0, headers + 8000}, {60_000, 0, headers + 60_000},
		{8000, 5000, 5000}, {1400, vocabulary.MaxCopyRange, headers + 1400}, {1400, 1, 1},
	} {
		if err := q.Attach(nfq.Attached{CopyRange: uint32(test.copied)}); err != nil {
			t.Fatal(err)
		}
		if queues, err := nfq.ReadKernelQueues(); err != nil || len(queues) != 1 || test.copied > 0 && int(queues[0].CopyRange) != test.copied {
			t.Errorf("%+v, %v; want %d", queues, err, test.copied)
		}
		s.send(strings.Repeat("x", test.length))
		p := next(t, q, 1)[0]
		if len(p.Payload) != test.want || p.Length() != headers+test.length || (p.CapLen > 0) != (test.want < headers+test.length) {
			t.Errorf("packet %d: %d bytes of %d (%d), want %d of %d", i, len(p.Payload), p.Length(), p.CapLen, test.want, headers+test.length)
		}
		waiting = append(waiting, p)
	}
	answer(t, q, nfq.Accept, waiting...)
	if n := q.Stats().VerdictErrors; n != 0 || len(s.receive(len(waiting))) != len(waiting) {
		t.Errorf("%d verdicts were refused, or packets are lost", n)
	}
	other := openMmsg(t, nfq.Config{Queue: 1, CopyRange: 200})
	if err := other.Attach(nfq.Attached{CopyRange: 200}); err != nil {
		t.Error(err)
	}
	for _, n := range []uint32{201, 0} {
		if err := other.Attach(nfq.Attached{CopyRange: n}); err == nil || !strings.Contains(err.Error(), "there is room for 200") {
			t.Errorf("copy range %d: %v", n, err)
		}
	}
}

// TestQueueAgain: a packet that is put into its queue once more comes as it would come now, behind what
// waits, and is let go or dropped as any.
func TestQueueAgain(t *testing.T) {
	testkit.Namespace(t)
	s := newSocket(t)
	q := openMmsg(t, nfq.Config{CopyRange: 60, CopyMost: vocabulary.MaxCopyRange})
	rules(t, 1, nil)
	const sent = 20
	for i := range sent {
		s.send(strings.Repeat(string(rune('a'+i)), 1000))
	}
	short := next(t, q, sent)
	if err := q.Attach(nfq.Attached{}); err != nil {
		t.Fatal(err)
	}
	answer(t, q, nfq.Requeue(0), short...)
	packets := next(t, q, sent)
	for i, p := range packets {
		if len(p.Payload) != 1028 || p.CapLen != 0 || p.Payload[1027] != byte('a'+i) {
			t.Errorf("packet %d: %d bytes (%d)", i, len(p.Payload), p.CapLen)
		}
	}
	answer(t, q, nfq.Drop, packets[:3]...)
	answer(t, q, nfq.Accept, packets[3:]...)
	if got := s.receive(sent - 3); len(got) != sent-3 || q.Stats().VerdictErrors != 0 {
		t.Errorf("%d arrived, want %d; %+v", len(got), sent-3, q.Stats())
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
	if got := s.receive(sent); len(got) != sent {
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
