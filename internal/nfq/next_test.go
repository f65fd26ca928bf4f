package nfq_test

import (
	"slices"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"verdictd/internal/nfnl"
	"verdictd/internal/nfq"
	"verdictd/internal/ruleset"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// openMmsg binds a queue until the test ends.
func openMmsg(t testing.TB, cfg nfq.Config) *nfq.Mmsg {
	t.Helper()
	q, err := nfq.OpenMmsg(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = q.Close() })
	return q
}

// next takes n packets, which must be there.
func next(t testing.TB, q *nfq.Mmsg, n int) (packets []nfq.Packet) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); len(packets) < n; {
		b, err := q.Next(nil, time.Second) // an empty one, where acknowledgements come first
		if err != nil {
			t.Fatal(err)
		}
		if time.Now().After(end) {
			t.Fatalf("%d of %d packets came", len(packets), n)
		}
		packets = append(packets, b.Packets...)
	}
	return packets
}

func answer(t testing.TB, q *nfq.Mmsg, v nfq.Verdict, packets ...nfq.Packet) {
	t.Helper()
	for _, p := range packets {
		if err := q.Reply(&nfq.Reply{ID: p.ID, Queue: p.Queue, Verdict: v, Tag: 1000 + p.ID}); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.Flush(); err != nil {
		t.Fatal(err)
	}
}

// queued is how many packets wait in the namespace's queues.
func queued(t testing.TB) (n uint32) {
	t.Helper()
	queues, err := nfq.ReadKernelQueues()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range queues {
		n += k.Queued
	}
	return n
}

func TestNext(t *testing.T) {
	testkit.Namespace(t)
	s := newSocket(t)
	q := openMmsg(t, nfq.Config{})
	rules(t, 1, nil)
	wake, err := nfnl.NewAlarm()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = wake.Close() }()
	empty := func(what string, wake *nfnl.Alarm, wait, least, most time.Duration) {
		t.Helper()
		begun := nfq.Now()
		b, err := q.Next(wake, wait)
		took := time.Duration(nfq.Now() - begun)
		if err != nil || len(b.Packets) != 0 || b.Received < begun || took < least || took > most {
			t.Errorf("%s: %d packets, %v after %v", what, len(b.Packets), err, took)
		}
	}
	empty("acknowledgement of the bind", wake, nfnl.Forever, 0, time.Second)
	empty("poll", wake, 0, 0, time.Second)
	empty("wait", wake, 20*time.Millisecond, 20*time.Millisecond, time.Minute)
	empty("wait without an alarm", nil, 20*time.Millisecond, 20*time.Millisecond, time.Minute)
	wake.Ring()
	empty("rung", wake, nfnl.Forever, 0, time.Minute)
	wake.Reset()
	empty("reset", wake, 20*time.Millisecond, 20*time.Millisecond, time.Minute)

	s.send("one")
	wake.Ring() // what is there comes first
	if b, err := q.Next(wake, nfnl.Forever); err != nil || len(b.Packets) != 1 {
		t.Fatalf("%+v, %v; want the packet", b, err)
	} else {
		answer(t, q, nfq.Accept, b.Packets...)
	}
	go func() { // wakes a wait
		wake.Reset()
		s.send("two")
	}()
	for {
		b, err := q.Next(wake, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if len(b.Packets) == 1 {
			answer(t, q, nfq.Accept, b.Packets...)
			break
		}
	}
	if got := s.receive(2); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("arrived: %q", got)
	}
	if st := q.Stats(); st.Batches != 2 || st.VerdictErrors != 0 {
		t.Errorf("stats: %+v", st)
	}
}

// TestHeldPackets: verdicts on packets behind held ones leave these where they are.
func TestHeldPackets(t *testing.T) {
	testkit.Namespace(t)
	s := newSocket(t)
	q := openMmsg(t, nfq.Config{})
	rules(t, 1, nil)
	for _, text := range []string{"first", "held", "held too"} {
		s.send(text)
	}
	held := next(t, q, 3)[1:]
	answer(t, q, nfq.Accept, nfq.Packet{ID: held[0].ID - 1})
	for _, text := range []string{"3", "4", "5"} {
		s.send(text)
	}
	answer(t, q, nfq.Accept, next(t, q, 3)...)
	if n := queued(t); n != 2 {
		t.Fatalf("%d packets wait, want the 2 held", n)
	}
	answer(t, q, nfq.Accept, held[1], held[0]) // the last id is not the highest
	if n := queued(t); n != 0 {
		t.Errorf("%d packets are left behind", n)
	}
	got := s.receive(6)
	slices.Sort(got)
	if !slices.Equal(got, []string{"3", "4", "5", "first", "held", "held too"}) {
		t.Errorf("arrived: %q", got)
	}
	if n := q.Stats().VerdictErrors; n != 0 {
		t.Errorf("%d verdicts were refused", n)
	}
}

// TestOnRefused: packets that are gone are told by tag and id.
func TestOnRefused(t *testing.T) {
	testkit.Namespace(t)
	s := newSocket(t)
	type refusal struct {
		tag, id uint32
		errno   unix.Errno
	}
	var got []refusal
	q := openMmsg(t, nfq.Config{
		Queue: 4, MoreQueues: []uint16{0},
		OnRefused: func(tag, id uint32, errno unix.Errno) { got = append(got, refusal{tag, id, errno}) },
	})
	rules(t, 1, nil)
	for _, text := range []string{"one", "two", "three"} {
		s.send(text)
	}
	packets := next(t, q, 3)
	if err := ruleset.Remove("nfqtest"); err != nil { // a base chain goes, and with it what is queued
		t.Fatal(err)
	}
	answer(t, q, nfq.Accept, packets...)
	if b, err := q.Next(nil, 0); err != nil || len(b.Packets) != 0 {
		t.Fatalf("%+v, %v; want refusals alone", b, err)
	}
	want := []refusal{{1003, 3, unix.ENOENT}} // one for all of them
	if !slices.Equal(got, want) {
		t.Errorf("refused: %v, want %v", got, want)
	}
	if n := q.Stats().VerdictErrors; n != uint64(len(want)) {
		t.Errorf("%d refusals counted, want %d", n, len(want))
	}
	// With a payload that does not come back whole.
	got = nil
	if err := q.SetBuffers(2, 64); err != nil {
		t.Fatal(err)
	}
	if err := q.Reply(&nfq.Reply{ID: 77, Verdict: nfq.Accept, Tag: 5, Payload: make([]byte, 1000)}); err != nil {
		t.Fatal(err)
	}
	answer(t, q, nfq.Accept)
	if _, err := q.Next(nil, 0); err != nil || len(got) != 1 || got[0] != (refusal{5, 77, unix.ENOENT}) {
		t.Errorf("refused: %v, %v", got, err)
	}
}

// TestCutMessages: a packet of which the message was cut is handed on, so that it gets
// its verdict, and is not swept up by those on others.
func TestCutMessages(t *testing.T) {
	testkit.Namespace(t)
	s := newSocket(t)
	q := openMmsg(t, nfq.Config{})
	if err := q.SetBuffers(8, 64); err != nil {
		t.Fatal(err)
	}
	rules(t, 1, nil)
	for range 3 {
		s.send("hey")
	}
	packets := next(t, q, 3)
	for i, p := range packets {
		if p.ID != uint32(i+1) || len(p.Payload) != 0 || vocabulary.HookAt(uint32(p.Hook)) != vocabulary.HookOutput {
			t.Errorf("packet %d: %+v, want its id and no payload", i, p)
		}
	}
	answer(t, q, nfq.Accept, packets[0], packets[2])
	if n, st := queued(t), q.Stats(); n != 1 || st.Malformed != 3 {
		t.Errorf("%d packets wait, want 1; stats %+v", n, st)
	}
	answer(t, q, nfq.Drop, packets[1])
	if got := s.receive(2); len(got) != 2 || queued(t) != 0 {
		t.Errorf("arrived: %q, want the two that were accepted", got)
	}
}

// TestPacketsWithoutAnID: nobody can give a verdict on these, neither this one nor that
// on packets behind them.
func TestPacketsWithoutAnID(t *testing.T) {
	for name, m := range map[string]netlink.Message{
		"no attribute":        {Data: []byte{0, 0, 0, 0}},
		"header cut":          {Data: []byte{0, 0, 0, 0, 7, 0, 1, 0, 0, 0, 0, 9}},
		"another one's queue": {Data: []byte{0, 0, 0, 5, 11, 0, 1, 0, 0, 0, 0, 9, 8, 0, 3, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.Namespace(t)
			s := newSocket(t)
			q := openMmsg(t, nfq.Config{})
			rules(t, 1, nil)
			s.send("held")
			next(t, q, 1)
			q.Take(m)
			s.send("one")
			s.send("two")
			answer(t, q, nfq.Accept, next(t, q, 2)...)
			if n := queued(t); n != 1 || q.Stats().Malformed != 1 {
				t.Errorf("%d packets wait, want 1; %d malformed", n, q.Stats().Malformed)
			}
		})
	}
}

// TestLostRefusals: that a refusal was lost ends nothing.
func TestLostRefusals(t *testing.T) {
	testkit.Namespace(t)
	s := newSocket(t)
	q := openMmsg(t, nfq.Config{})
	if err := q.ReportLoss(); err != nil {
		t.Fatal(err)
	}
	rules(t, 1, nil)
	for id := range uint32(1000) {
		if err := q.Reply(&nfq.Reply{ID: id + 1<<20, Verdict: nfq.Accept}); err != nil {
			t.Fatal(err)
		}
	}
	answer(t, q, nfq.Accept)
	if b, err := q.Next(nil, 0); err != nil || len(b.Packets) != 0 {
		t.Fatalf("%+v, %v", b, err)
	}
	for { // until it is empty, as the kernel sends nothing before
		b, err := q.Next(nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(b.Packets) == 0 {
			break
		}
	}
	before := q.Stats().VerdictErrors
	if before == 0 || before >= 1000 {
		t.Errorf("%d refusals counted: want some, of which the last is the loss", before)
	}
	s.send("hey")
	answer(t, q, nfq.Accept, next(t, q, 1)...)
	if got := s.receive(1); len(got) != 1 {
		t.Errorf("arrived: %q", got)
	}
}
