package engine

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"verdictd/internal/nfq"
	"verdictd/internal/packet"
	"verdictd/internal/statistics"
)

// fakeQueue is a queue without a kernel. Batches go in by a channel, and what the kernel
// does with them comes out as a log: like a real one it holds every packet until a
// verdict, and takes a flush that answers all of them alike as one verdict on all up to
// the highest id.
type fakeQueue struct {
	cfg      nfq.Config
	log      *log
	batches  chan *nfq.Batch
	held     []uint32 // ids that wait in the kernel
	pending  []nfq.Reply
	fail     error // returned by Flush
	closed   bool
	grown    int // receive buffer
	attached nfq.Attached
}

// log is shared by fakes, so that their order shows.
type log struct {
	mu    sync.Mutex
	lines []string
}

func (l *log) add(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
}

func (q *fakeQueue) Run(handle func(*nfq.Batch) error) error {
	for b := range q.batches { // through which others look, as the window is open
		q.cfg.Window.Shut()
		for _, p := range b.Packets {
			q.held = append(q.held, p.ID)
		}
		err := handle(b)
		q.cfg.Window.Open()
		if err != nil {
			return err
		}
	}
	return nil
}

func (q *fakeQueue) Reply(r *nfq.Reply) error {
	if len(q.pending) > 0 && r.ID <= q.pending[len(q.pending)-1].ID {
		return fmt.Errorf("the reply on %d comes behind that on %d", r.ID, q.pending[len(q.pending)-1].ID)
	}
	q.pending = append(q.pending, *r)
	return nil
}

func (q *fakeQueue) Flush() error {
	if q.fail != nil {
		return q.fail
	}
	pending := q.pending
	q.pending = nil
	if len(pending) == len(q.held) && !slices.ContainsFunc(pending, func(r nfq.Reply) bool { return r.Verdict != pending[0].Verdict }) {
		highest := slices.MaxFunc(pending, func(a, b nfq.Reply) int { return cmp.Compare(a.ID, b.ID) })
		pending = nil
		for _, id := range q.held {
			if id <= highest.ID {
				pending = append(pending, nfq.Reply{ID: id, Verdict: highest.Verdict})
			}
		}
	}
	for _, r := range pending {
		i := slices.Index(q.held, r.ID)
		if i < 0 {
			return fmt.Errorf("packet %d has a verdict already, or never came", r.ID)
		}
		q.held = slices.Delete(q.held, i, i+1)
		q.log.add("%s %d", map[nfq.Verdict]string{nfq.Accept: "accept", nfq.Drop: "drop", nfq.Requeue(q.cfg.Queue): "again"}[r.Verdict], r.ID)
	}
	return nil
}

func (q *fakeQueue) Stop() error  { close(q.batches); return nil }
func (q *fakeQueue) Leave() error { return q.Stop() }

func (q *fakeQueue) Close() error {
	q.closed = true
	if len(q.held) > 0 && q.fail == nil {
		return fmt.Errorf("packets %d never got a verdict", q.held)
	}
	return nil
}

func (q *fakeQueue) Stats() statistics.Transport {
	return statistics.Transport{Batches: 1, VerdictErrors: 2, Malformed: 3}
}
func (q *fakeQueue) Tune(nfq.Tuned) error { return nil }
func (q *fakeQueue) Attach(a nfq.Attached) error {
	q.attached = a
	return nil
}
func (q *fakeQueue) ReceiveBuffer() int { return max(q.grown, int(q.cfg.Queue)+1) }
func (q *fakeQueue) GrowReceiveBuffer(size int) (int, error) {
	q.grown = size
	return size, nil
}

// fakeHints logs what it is told.
type fakeHints struct {
	log    *log
	wanted bool
}

func (h *fakeHints) Wanted() bool { return h.wanted }
func (h *fakeHints) Dropped(k *packet.Key, fingerprint uint32) {
	h.log.add("dropped %d %#x", binary.BigEndian.Uint16(k[36:]), fingerprint)
}
func (h *fakeHints) Returned(verdicts int) { h.log.add("returned %d", verdicts) }

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

// batch numbers packets from 1 on.
func batch(payloads ...[]byte) *nfq.Batch {
	b := &nfq.Batch{Received: nfq.Now()}
	for i, payload := range payloads {
		b.Packets = append(b.Packets, nfq.Packet{ID: uint32(i + 1), Payload: payload})
	}
	return b
}

// rig is an engine on fakes.
type rig struct {
	*Engine
	log    log
	queues []*fakeQueue
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
func (r *rig) judge(t *testing.T, batches ...*nfq.Batch) (lines []string, total statistics.Verdicts) {
	t.Helper()
	r.Start()
	for _, b := range batches {
		r.queues[0].batches <- b
	}
	if err := errors.Join(r.Stop(), r.Close()); err != nil {
		t.Fatal(err)
	}
	return r.log.lines, r.Results().Total
}

func wantLines(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("what happened:\n%q\nwant:\n%q", got, want)
	}
}
