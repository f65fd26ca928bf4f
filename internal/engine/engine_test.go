package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/flow"
	"verdictd/internal/nfq"
	"verdictd/internal/packet"
	"verdictd/internal/policy"
	"verdictd/internal/reinject"
)

// fakeQueue is a queue without a kernel: batches go in by a channel, and what
// the worker does comes out as a log that it shares with fakeSender.
type fakeQueue struct {
	cfg     nfq.Config
	log     *log
	batches chan *nfq.Batch
	pending []string
	fail    error  // returned by Flush
	onFlush func() // called by the first Flush
	closed  bool
}

type log struct {
	mu    sync.Mutex
	lines []string
}

func (l *log) add(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
}

func (l *log) copied() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines)
}

func (q *fakeQueue) Run(handle func(*nfq.Batch) error) error {
	for b := range q.batches {
		if err := handle(b); err != nil {
			return err
		}
	}
	return nil
}

func (q *fakeQueue) Reply(r *nfq.Reply) error {
	q.pending = append(q.pending, fmt.Sprintf("%s %d", map[nfq.Verdict]string{nfq.Accept: "accept", nfq.Drop: "drop"}[r.Verdict], r.ID))
	return nil
}

func (q *fakeQueue) Flush() error {
	if q.onFlush != nil {
		q.onFlush()
		q.onFlush = nil
	}
	for _, l := range q.pending {
		q.log.add("%s", l)
	}
	q.pending = nil
	return q.fail
}

func (q *fakeQueue) Stop() error        { close(q.batches); return nil }
func (q *fakeQueue) Close() error       { q.closed = true; return nil }
func (q *fakeQueue) Stats() nfq.Stats   { return nfq.Stats{Batches: 1} }
func (q *fakeQueue) ReceiveBuffer() int { return int(q.cfg.Queue) + 1 }

type fakeSender struct {
	log    *log
	errs   map[byte]error // by the packet's last byte
	closed bool
}

func (s *fakeSender) Send(p []byte, mark, dev uint32) error {
	last := p[len(p)-1]
	s.log.add("send %d mark %d dev %d", last, mark, dev)
	return s.errs[last]
}

func (s *fakeSender) Close() error { s.closed = true; return nil }

// udp is an IPv4 packet of a flow; number is its last byte.
func udp(port uint16, number byte) []byte {
	b := make([]byte, 29)
	b[0], b[3], b[8], b[9] = 0x45, byte(len(b)), 64, unix.IPPROTO_UDP
	copy(b[12:], []byte{192, 0, 2, 1, 192, 0, 2, 2})
	binary.BigEndian.PutUint16(b[20:], port)
	binary.BigEndian.PutUint16(b[22:], 53)
	b[25] = 9
	b[28] = number
	return b
}

func batch(packets ...nfq.Packet) *nfq.Batch {
	for i := range packets {
		packets[i].ID = uint32(i + 1)
	}
	return &nfq.Batch{Packets: packets, Received: nfq.Now()}
}

// rig is an engine on fakes.
type rig struct {
	*Engine
	log     log
	queues  []*fakeQueue
	senders []*fakeSender
}

func newRig(t *testing.T, change func(*Config)) *rig {
	t.Helper()
	r := &rig{}
	cfg := Config{
		Queues: 1,
		Open: func(c nfq.Config) (nfq.Queue, error) {
			q := &fakeQueue{cfg: c, log: &r.log, batches: make(chan *nfq.Batch)}
			r.queues = append(r.queues, q)
			return q, nil
		},
		Guard: GuardReinject, Mark: 1 << 30,
		Flows: flow.Config{Flows: 64, Grace: time.Second, Idle: time.Minute},
		NewSender: func() (Sender, error) {
			s := &fakeSender{log: &r.log, errs: map[byte]error{}}
			r.senders = append(r.senders, s)
			return s, nil
		},
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if r.Engine, err = Open(cfg); err != nil {
		t.Fatal(err)
	}
	return r
}

// judge runs batches through the first queue and returns what happened.
func (r *rig) judge(t *testing.T, batches ...*nfq.Batch) (lines []string, total Result) {
	t.Helper()
	r.Start()
	for _, b := range batches {
		r.queues[0].batches <- b
	}
	if err := errors.Join(r.Stop(), r.Close()); err != nil {
		t.Fatal(err)
	}
	_, total = r.Results()
	return r.log.lines, total
}

func wantLines(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("what happened:\n%q\nwant:\n%q", got, want)
	}
}

// TestFurtherPacketsAreSentAnewInOrder is the guard's main path.
func TestFurtherPacketsAreSentAnewInOrder(t *testing.T) {
	r := newRig(t, nil)
	lines, total := r.judge(t, batch(
		nfq.Packet{Payload: udp(1, 1), OutDev: 2, Hook: nfq.HookOutput},
		nfq.Packet{Payload: udp(1, 2), OutDev: 2, Hook: nfq.HookOutput, Mark: 5},
		nfq.Packet{Payload: udp(2, 3), OutDev: 2, Hook: nfq.HookOutput},
		nfq.Packet{Payload: udp(1, 4), OutDev: 2, Hook: nfq.HookOutput},
	))
	wantLines(t, lines,
		"accept 1", "accept 3", // the verdicts, which confirm
		"send 2 mark 5 dev 2", "send 4 mark 0 dev 2", // then the copies
		"drop 2", "drop 4") // then their originals
	if c := total.Counters; c.Received != 4 || c.Accepted != 2 || c.First != 2 || c.Further != 2 || c.Reinjected != 2 || c.Batches != 1 {
		t.Errorf("counters: %+v", c)
	}
	if total.Latency.Max <= 0 || total.Latency.P50 > total.Latency.P99 {
		t.Errorf("latency: %+v", total.Latency)
	}
}

func TestGuardModes(t *testing.T) {
	packets := func() *nfq.Batch {
		return batch(nfq.Packet{Payload: udp(1, 1)}, nfq.Packet{Payload: udp(1, 2)})
	}
	t.Run("off", func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Guard = GuardOff })
		lines, total := r.judge(t, packets())
		wantLines(t, lines, "accept 1", "accept 2")
		if len(r.senders) != 0 || total.First != 0 || r.FlowTableBytes() != 0 {
			t.Errorf("a guard that is off has %d senders, counted %d first packets, holds %d bytes", len(r.senders), total.First, r.FlowTableBytes())
		}
	})
	t.Run("drop", func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Guard = GuardDrop })
		lines, total := r.judge(t, packets())
		wantLines(t, lines, "accept 1", "drop 2")
		if len(r.senders) != 0 || total.GuardDropped != 1 || total.Dropped != 0 {
			t.Errorf("%d senders, counters %+v", len(r.senders), total.Counters)
		}
	})
}

// fakeProver says no so many times, then yes.
type fakeProver struct {
	log    *log
	no     int
	err    error
	closed bool
}

func (p *fakeProver) Confirmed(*packet.Key) (bool, error) {
	p.no--
	p.log.add("confirmed? %v", p.no < 0)
	return p.no < 0, p.err
}

func (p *fakeProver) Close() error { p.closed = true; return nil }

// TestCopiesDoNotGetPastRules: at INPUT and FORWARD a copy would not meet the
// rules behind the queue.
func TestCopiesDoNotGetPastRules(t *testing.T) {
	for name, test := range map[string]struct {
		prover *fakeProver
		sent   error
		want   []string
	}{
		"confirmed": {&fakeProver{}, nil, []string{
			"accept 1", "confirmed? true", "send 2 mark 0 dev 0", "confirmed? true", "send 3 mark 0 dev 0", "drop 2", "drop 3"}},
		"dropped behind the queue": {&fakeProver{no: 9}, nil, []string{
			"accept 1", "confirmed? false", "accept 2", "confirmed? false", "accept 3"}},
		"confirmed by the second one": {&fakeProver{no: 1}, nil, []string{
			"accept 1", "confirmed? false", "accept 2", "confirmed? true", "send 3 mark 0 dev 0", "drop 3"}},
		"a rule of OUTPUT drops the copies": {&fakeProver{}, reinject.ErrFiltered, []string{
			"accept 1", "confirmed? true", "send 2 mark 0 dev 0", "confirmed? true", "send 3 mark 0 dev 0", "accept 2", "accept 3"}},
		"no answer": {&fakeProver{err: errors.New("no answer")}, nil, []string{
			"accept 1", "confirmed? true", "confirmed? true", "accept 2", "accept 3"}},
		"nobody to ask": {nil, nil, []string{"accept 1", "accept 2", "accept 3"}},
	} {
		for _, hook := range []nfq.Hook{nfq.HookInput, nfq.HookForward} {
			t.Run(name, func(t *testing.T) {
				r := newRig(t, nil)
				r.senders[0].errs = map[byte]error{2: test.sent, 3: test.sent}
				if test.prover != nil {
					prover := *test.prover
					prover.log = &r.log
					r.workers[0].guard.prover = &prover
				}
				var packets []nfq.Packet
				for n := range byte(3) {
					packets = append(packets, nfq.Packet{Payload: udp(1, n+1), Hook: hook, InDev: 2})
				}
				lines, total := r.judge(t, batch(packets...))
				wantLines(t, lines, test.want...)
				c := total.Counters
				asked := c.Accepted + c.Reinjected + c.GivenBack + c.ReinjectFailed
				if name == "no answer" {
					asked += c.Unguarded
				}
				if asked != 3 {
					t.Errorf("%d packets are accounted for, want 3: %+v", asked, c)
				}
			})
		}
	}
}

// TestTranslatedPackets: a copy of a packet behind DNAT would be another flow's.
func TestTranslatedPackets(t *testing.T) {
	const translated = 1 << 5 // IPS_DST_NAT
	told := nfq.Packet{Payload: udp(1, 0), HasCT: true, CTStatus: translated, Hook: nfq.HookForward}
	untold := nfq.Packet{Payload: udp(1, 0), Hook: nfq.HookForward}
	early := nfq.Packet{Payload: udp(1, 0), Hook: nfq.HookOutput}
	for name, test := range map[string]struct {
		dnat   GuardMode
		packet nfq.Packet
		want   []string
	}{
		"told, drop":   {GuardDrop, told, []string{"accept 1", "drop 2"}},
		"told, off":    {GuardOff, told, []string{"accept 1", "accept 2"}},
		"untold, drop": {GuardDrop, untold, []string{"accept 1", "drop 2"}},
		"untold, off":  {GuardOff, untold, []string{"accept 1", "accept 2"}},
		"not there":    {GuardDrop, early, []string{"accept 1", "send 0 mark 0 dev 0", "drop 2"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(c *Config) { c.DNAT, c.DNATAt = test.dnat, Hooks(nfq.HookForward) })
			lines, _ := r.judge(t, batch(test.packet, test.packet))
			wantLines(t, lines, test.want...)
		})
	}
	t.Run("dropped only until it settles", func(t *testing.T) {
		r := newRig(t, func(c *Config) {
			c.DNAT, c.DNATAt = GuardDrop, Hooks(nfq.HookForward)
			c.Flows.Grace = time.Microsecond
		})
		r.Start()
		r.queues[0].batches <- batch(untold, untold)
		time.Sleep(5 * time.Millisecond)
		late := batch(untold)
		late.EmptyAt = nfq.Now()
		r.queues[0].batches <- late
		if err := errors.Join(r.Stop(), r.Close()); err != nil {
			t.Fatal(err)
		}
		wantLines(t, r.log.lines, "accept 1", "drop 2", "accept 1")
	})
}

// TestTwoQueuesOnTheWay: only the last one before the confirm guards.
func TestTwoQueuesOnTheWay(t *testing.T) {
	r := newRig(t, func(c *Config) { c.GuardAt = Hooks(nfq.HookPostrouting) })
	out, post := nfq.Packet{Payload: udp(1, 1), Hook: nfq.HookOutput}, nfq.Packet{Payload: udp(1, 1), Hook: nfq.HookPostrouting}
	lines, total := r.judge(t, batch(out, out), batch(post, post))
	wantLines(t, lines, "accept 1", "accept 2", "accept 1", "send 1 mark 0 dev 0", "drop 2")
	if total.First != 1 || total.Further != 1 {
		t.Errorf("counters: %+v", total.Counters)
	}
}

// TestWhatCannotBeSentAnewIsAccepted: nothing is lost.
func TestWhatCannotBeSentAnewIsAccepted(t *testing.T) {
	r := newRig(t, nil)
	r.senders[0].errs = map[byte]error{2: reinject.ErrTooLong, 3: reinject.ErrFiltered, 4: nil}
	lines, total := r.judge(t, batch(
		nfq.Packet{Payload: udp(1, 1)},
		nfq.Packet{Payload: udp(1, 2)},
		nfq.Packet{Payload: udp(1, 3)}, // a later rule dropped the copy
		nfq.Packet{Payload: udp(1, 4)},
		nfq.Packet{Payload: udp(1, 5), ChecksumNotReady: true},
		nfq.Packet{Payload: udp(1, 6), CapLen: 100},
		nfq.Packet{Payload: udp(1, 7), GSO: true},
	))
	wantLines(t, lines, "accept 1",
		"send 2 mark 0 dev 0", "send 3 mark 0 dev 0", "send 4 mark 0 dev 0",
		"accept 2", "drop 3", "drop 4", "accept 5", "accept 6", "accept 7")
	if c := total.Counters; c.ReinjectFailed != 4 || c.Filtered != 1 || c.Reinjected != 1 || c.Truncated != 1 {
		t.Errorf("counters: %+v", c)
	}
}

func TestPacketsThatCannotClashPass(t *testing.T) {
	tcp := udp(1, 0)
	tcp[9] = unix.IPPROTO_TCP
	fragment := udp(1, 0)
	fragment[6] = 0x20
	multicast := udp(1, 0)
	multicast[16] = 224
	icmp := func(typ byte) []byte {
		b := udp(1, 0)
		b[9], b[20] = unix.IPPROTO_ICMP, typ
		return b
	}
	for name, p := range map[string]nfq.Packet{
		"TCP":                {Payload: tcp},
		"fragment":           {Payload: fragment},
		"came in through lo": {Payload: udp(1, 0), Hook: nfq.HookInput, InDev: 1},
		"confirmed entry":    {Payload: udp(1, 0), HasCT: true, CTStatus: 1 << 3},
		"ICMP error":         {Payload: icmp(3)},
		"ICMP answer":        {Payload: icmp(0)},
		"multicast in INPUT": {Payload: multicast, Hook: nfq.HookInput},
	} {
		t.Run(name, func(t *testing.T) {
			lines, total := newRig(t, nil).judge(t, batch(p, p))
			wantLines(t, lines, "accept 1", "accept 2")
			if want := strings.Contains(name, "multicast"); (total.Unguarded == 2) != want {
				t.Errorf("%d unguarded", total.Unguarded)
			}
		})
	}
	t.Run("those that can", func(t *testing.T) {
		for name, p := range map[string]nfq.Packet{
			"ICMP echo": {Payload: icmp(8)}, "multicast in OUTPUT": {Payload: multicast, Hook: nfq.HookOutput},
		} {
			lines, _ := newRig(t, nil).judge(t, batch(p, p))
			if len(lines) != 3 {
				t.Errorf("%s: %q", name, lines)
			}
		}
	})
	t.Run("sent anew already", func(t *testing.T) {
		p := nfq.Packet{Payload: udp(1, 0), Mark: 1<<30 | 5}
		lines, total := newRig(t, nil).judge(t, batch(p, p))
		wantLines(t, lines, "accept 1", "accept 2")
		if total.Looped != 2 {
			t.Errorf("%d loops counted, want 2", total.Looped)
		}
	})
}

func TestPolicy(t *testing.T) {
	dropTwo, err := policy.Compile(policy.Accept, []policy.Rule{{Action: policy.Drop, SourcePorts: []policy.PortRange{{First: 2, Last: 2}}}})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(c *Config) { c.Policy = dropTwo })
	lines, total := r.judge(t, batch(
		nfq.Packet{Payload: udp(2, 1)}, nfq.Packet{Payload: udp(1, 2)},
		nfq.Packet{Payload: udp(2, 3)}, nfq.Packet{Payload: udp(1, 4)},
		nfq.Packet{Payload: []byte{1, 2, 3}},
	))
	wantLines(t, lines, "drop 1", "accept 2", "drop 3", "accept 5", "send 4 mark 0 dev 0", "drop 4")
	if total.Dropped != 2 || total.Undecodable != 1 {
		t.Errorf("counters: %+v", total.Counters)
	}
}

// TestNothingOvertakes: the second packet of the flow waits to be sent anew when
// the third one comes with a confirmed entry.
func TestNothingOvertakes(t *testing.T) {
	r := newRig(t, nil)
	unconfirmed := func(n byte) nfq.Packet { return nfq.Packet{Payload: udp(1, n), HasCT: true} }
	confirmed := nfq.Packet{Payload: udp(1, 9), HasCT: true, CTStatus: 1 << 3}
	lines, _ := r.judge(t, batch(unconfirmed(1)), batch(unconfirmed(2), confirmed), batch(confirmed))
	wantLines(t, lines, "accept 1", "send 2 mark 0 dev 0", "send 9 mark 0 dev 0", "drop 1", "drop 2", "accept 1")
}

// TestFlowInTwoQueues has a second queue meet a flow while the first one's
// verdict has not returned.
func TestFlowInTwoQueues(t *testing.T) {
	for name, test := range map[string]struct {
		second nfq.Packet
		want   []string
		handed uint64
	}{
		"handed over": {nfq.Packet{Payload: udp(1, 2), Mark: 3},
			[]string{"drop 1", "accept 1", "send 2 mark 3 dev 0"}, 1},
		"no copy possible: waits for the verdict": {nfq.Packet{Payload: udp(1, 2), ChecksumNotReady: true},
			[]string{"accept 1", "accept 1"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(c *Config) { c.Queues = 2 })
			judging, release := make(chan struct{}), make(chan struct{})
			r.queues[0].onFlush = func() { close(judging); <-release }
			r.Start()
			r.queues[0].batches <- batch(nfq.Packet{Payload: udp(1, 1)})
			<-judging
			r.queues[1].batches <- batch(test.second)
			time.Sleep(20 * time.Millisecond)
			if test.handed == 0 && len(r.log.copied()) != 0 {
				t.Errorf("did not wait: %q", r.log.copied())
			}
			close(release)
			if err := errors.Join(r.Stop(), r.Close()); err != nil {
				t.Fatal(err)
			}
			wantLines(t, r.log.lines, test.want...)
			if _, total := r.Results(); total.HandedOver != test.handed || total.Adopted != test.handed || total.Further != 1 {
				t.Errorf("counters: %+v", total.Counters)
			}
		})
	}
}

func TestWorkerErrors(t *testing.T) {
	r := newRig(t, nil)
	r.queues[0].fail = errors.New("broken")
	r.Start()
	r.queues[0].batches <- batch(nfq.Packet{Payload: udp(1, 1)})
	if err := <-r.Failed(); err == nil || err.Error() != "broken" {
		t.Errorf("failed with %v", err)
	}
	if err := errors.Join(r.Stop(), r.Close()); err != nil {
		t.Error(err)
	}
	if !r.queues[0].closed || !r.senders[0].closed {
		t.Error("something stayed open")
	}
}

func TestOpenCleansUp(t *testing.T) {
	var opened []*fakeQueue
	senders, provers := []*fakeSender{}, []*fakeProver{}
	_, err := Open(Config{
		Queues: 3, Guard: GuardReinject, Flows: flow.Config{Flows: 1, Grace: 1, Idle: 2},
		Open: func(c nfq.Config) (nfq.Queue, error) {
			if c.Queue == 2 {
				return nil, errors.New("no third")
			}
			q := &fakeQueue{cfg: c}
			opened = append(opened, q)
			return q, nil
		},
		NewSender: func() (Sender, error) { senders = append(senders, &fakeSender{}); return senders[len(senders)-1], nil },
		NewProver: func() (Prover, error) { provers = append(provers, &fakeProver{}); return provers[len(provers)-1], nil },
	})
	if err == nil {
		t.Fatal("no error")
	}
	if len(opened) != 2 || len(senders) != 3 {
		t.Fatalf("%d queues, %d senders", len(opened), len(senders))
	}
	for i, q := range opened {
		if !q.closed {
			t.Errorf("queue %d stayed open", i)
		}
	}
	for i, s := range senders {
		if !s.closed || !provers[i].closed {
			t.Errorf("sender or prover %d stayed open", i)
		}
	}
}

func TestResultsAddUp(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Queues = 2; c.Queue.Queue = 7 })
	if r.queues[0].cfg.Queue != 7 || r.queues[1].cfg.Queue != 8 || r.ReceiveBuffer() != 8 {
		t.Errorf("queues %d and %d, least buffer %d", r.queues[0].cfg.Queue, r.queues[1].cfg.Queue, r.ReceiveBuffer())
	}
	r.Start()
	r.queues[0].batches <- batch(nfq.Packet{Payload: udp(1, 1)})
	r.queues[1].batches <- batch(nfq.Packet{Payload: udp(2, 1)}, nfq.Packet{Payload: udp(3, 1)})
	if err := errors.Join(r.Stop(), r.Close()); err != nil {
		t.Fatal(err)
	}
	queues, total := r.Results()
	if queues[0].Received != 1 || queues[1].Received != 2 || total.Received != 3 || total.First != 3 || total.Batches != 2 {
		t.Errorf("queues %+v, total %+v", queues, total)
	}
}
