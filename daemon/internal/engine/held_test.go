package engine

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/names/flows"
	"verdictd/daemon/internal/names/hello/tlsclient"
	"verdictd/daemon/internal/policy"
	"verdictd/daemon/internal/reassembly"
	"verdictd/internal/nfq"
	"verdictd/internal/vocabulary"
)

// tcp is an IPv4 segment from a port to 443.
func tcp(port uint16, flags byte, sequence uint32, data []byte) []byte {
	b := make([]byte, 40, 40+len(data))
	b[0], b[8], b[9] = 0x45, 64, unix.IPPROTO_TCP
	copy(b[12:], []byte{192, 0, 2, 1, 192, 0, 2, 2})
	binary.BigEndian.PutUint16(b[20:], port)
	binary.BigEndian.PutUint16(b[22:], 443)
	binary.BigEndian.PutUint32(b[24:], sequence)
	b[32], b[33] = 5<<4, flags
	b = append(b, data...)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	return b
}

const (
	flagSYN = 2
	flagACK = 16
)

// clientHello is what crypto/tls sends first.
func clientHello(t *testing.T, name string) []byte {
	t.Helper()
	b, err := tlsclient.Hello(&tls.Config{ServerName: name})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// holding drops TLS for a name, and holds packets until it is known.
func holding(t *testing.T, age time.Duration, action vocabulary.Action) func(*Config) {
	t.Helper()
	rule := policy.Rule{Name: "blocked", Action: action, Hold: true, Match: policy.Match{TLS: &policy.HelloMatch{Names: policy.Names{List: []string{"blocked.example"}}}}}
	return func(c *Config) {
		c.Judgement = Judgement{
			Policy: compiled(t, vocabulary.Accept, rule), Names: []string{"blocked"}, Holds: true,
			Flows: flows.Config{Flows: 64, QUICKeys: 1000, Pending: reassembly.Config{Flows: 8, Bytes: 16 << 10, Packets: 16, Age: int64(age)}},
		}
	}
}

// numbered is a batch whose first packet has an id.
func numbered(first uint32, payloads ...[]byte) *nfq.Batch {
	b := batch(payloads...)
	for i := range b.Packets {
		b.Packets[i].ID = first + uint32(i)
	}
	return b
}

// TestHold: what waits goes on in order with what it waited for, or is dropped with it, and
// packets of other flows do not wait. Who asks is not told that they have gone on.
func TestHold(t *testing.T) {
	for name, verdict := range map[string]string{"example.org": "accept", "blocked.example": "drop"} {
		r := newRig(t, holding(t, time.Hour, vocabulary.Drop))
		r.Start()
		hello := clientHello(t, name)
		r.queues[0].batches <- numbered(1, tcp(1, flagSYN, 99, nil), tcp(1, flagACK, 100, nil), tcp(1, flagACK, 100, hello[:500]), udp(9, 1))
		waitFor(t, &r.log, 3)
		id := r.Answered(0)
		for until := time.Now().Add(10 * time.Second); id == 0 && time.Now().Before(until); id = r.Answered(0) {
			time.Sleep(100 * time.Microsecond) // it is told once the verdicts have returned, which are logged before
		}
		if id != 2 {
			t.Errorf("%s: all up to %d are through while 3 waits", name, id)
		}
		r.queues[0].batches <- numbered(5, tcp(1, flagACK, 600, hello[500:900]), udp(9, 2))
		waitFor(t, &r.log, 4)
		r.queues[0].batches <- numbered(7, tcp(1, flagACK, 1000, hello[900:]), udp(9, 3))
		if err := errors.Join(r.Stop(), r.Close()); err != nil {
			t.Fatal(err)
		}
		wantLines(t, r.log.lines, "accept 1", "accept 2", "accept 4", "accept 6", verdict+" 3", verdict+" 5", verdict+" 7", "accept 8")
		if c := r.Results().Total; c.Held != 2 || c.HeldOver != 0 || c.Received != 8 || c.Accepted+c.Dropped != 8 || c.Joined != 1 {
			t.Errorf("%+v", c)
		}
		if id := r.Answered(0); id != 8 {
			t.Errorf("%s: all up to %d are through", name, id)
		}
	}
}

// TestHeldAtTheEnd: a worker that ends judges what waits, as without a name.
func TestHeldAtTheEnd(t *testing.T) {
	r := newRig(t, holding(t, time.Hour, vocabulary.Drop))
	hello := clientHello(t, "blocked.example")
	lines, total := r.judge(t, numbered(1, tcp(1, flagSYN, 99, nil), tcp(1, flagACK, 100, hello[:500])))
	wantLines(t, lines, "accept 1", "accept 2")
	if total.Held != 1 || total.HeldOver != 1 {
		t.Errorf("%+v", total)
	}
}

// TestHeldWhileStopped: a worker that was stopped reads all that came meanwhile before it counts the time, and what
// waited for one of those packets goes on for its reason.
func TestHeldWhileStopped(t *testing.T) {
	r := newRig(t, holding(t, time.Millisecond, vocabulary.Drop))
	hello := clientHello(t, "blocked.example")
	r.Start()
	first := numbered(1, tcp(1, flagSYN, 99, nil), tcp(1, flagACK, 100, hello[:500]))
	first.All = true
	r.queues[0].batches <- first
	waitFor(t, &r.log, 1)
	time.Sleep(5 * time.Millisecond)
	r.queues[0].batches <- numbered(3, udp(9, 1))
	last := numbered(4, tcp(1, flagACK, 600, hello[500:]))
	last.All, last.Received = true, nfq.Now()
	r.queues[0].batches <- last
	waitFor(t, &r.log, 4)
	if err := errors.Join(r.Stop(), r.Close()); err != nil {
		t.Fatal(err)
	}
	wantLines(t, r.log.lines, "accept 1", "accept 3", "drop 2", "drop 4")
	if c := r.Results().Total; c.Held != 1 || c.HeldOver != 0 {
		t.Errorf("%+v", c)
	}
}

// TestHeldForLong: empty batches are enough for what has waited for too long.
func TestHeldForLong(t *testing.T) {
	r := newRig(t, holding(t, time.Millisecond, vocabulary.Drop))
	hello := clientHello(t, "blocked.example")
	r.Start()
	r.queues[0].batches <- numbered(1, tcp(1, flagSYN, 99, nil), tcp(1, flagACK, 100, hello[:500]))
	waitFor(t, &r.log, 1)
	time.Sleep(5 * time.Millisecond)
	for range 2 { // of which the first may have been read for before it was time
		r.queues[0].batches <- &nfq.Batch{Received: nfq.Now(), All: true}
	}
	waitFor(t, &r.log, 2)
	if err := errors.Join(r.Stop(), r.Close()); err != nil {
		t.Fatal(err)
	}
	wantLines(t, r.log.lines, "accept 1", "accept 2")
}

// TestHoldIsBounded: of more flows than there is room for, those beyond go on.
func TestHoldIsBounded(t *testing.T) {
	r := newRig(t, func(c *Config) {
		holding(t, time.Hour, vocabulary.Drop)(c)
		c.Queue.MaxLength = 16 // of which 4 may be held
	})
	hello := clientHello(t, "blocked.example")
	var packets [][]byte
	for port := range uint16(8) {
		packets = append(packets, tcp(port, flagSYN, 99, nil), tcp(port, flagACK, 100, hello[:500]))
	}
	_, total := r.judge(t, numbered(1, packets...))
	if total.Held != 4 || total.HeldOver != 8 || total.Accepted != 16 {
		t.Errorf("%+v", total)
	}
}

// TestReloadKeepsNames: what was found out about flows stays with another policy that has
// the same bounds.
func TestReloadKeepsNames(t *testing.T) {
	r := newRig(t, holding(t, time.Hour, vocabulary.Accept))
	hello := clientHello(t, "blocked.example")
	r.Start()
	r.queues[0].batches <- numbered(1, tcp(1, flagSYN, 99, nil), tcp(1, flagACK, 100, hello))
	waitFor(t, &r.log, 2)
	var next Config
	holding(t, time.Hour, vocabulary.Drop)(&next)
	if err := r.Judge(next.Judgement); err != nil {
		t.Fatal(err)
	}
	r.queues[0].batches <- numbered(3, tcp(1, flagACK, 9999, []byte("data")))
	waitFor(t, &r.log, 3)
	if err := errors.Join(r.Stop(), r.Close()); err != nil {
		t.Fatal(err)
	}
	wantLines(t, r.log.lines, "accept 1", "accept 2", "drop 3")
}

// heldBytes is memory of another process.
type heldBytes struct{ b []byte }

func (m *heldBytes) Bytes() []byte      { return m.b }
func (m *heldBytes) Resize(n int) error { m.b = make([]byte, n); return nil }
func (m *heldBytes) Close() error       { return nil }

// TestHeldIsRemembered as long as it waits, and no longer.
func TestHeldIsRemembered(t *testing.T) {
	memory := &heldBytes{make([]byte, HeldRecords)}
	r := newRig(t, func(c *Config) {
		holding(t, time.Hour, vocabulary.Drop)(c)
		c.Held = func(uint16, bool) (nfq.Memory, error) { return memory, nil }
	})
	hello := clientHello(t, "blocked.example")
	w := r.workers[0]
	used := func() (n int) {
		for i := range w.held.records {
			if w.held.records[i].Used {
				n++
			}
		}
		return n
	}
	for i, step := range []struct {
		payload []byte
		used    int
	}{{tcp(1, flagSYN, 99, nil), 0}, {tcp(1, flagACK, 100, hello[:500]), 1}, {tcp(1, flagACK, 600, hello[500:900]), 2}, {tcp(1, flagACK, 1000, hello[900:]), 0}} {
		r.queues[0].held = append(r.queues[0].held, uint32(i+1))
		if err := w.handle(numbered(uint32(i+1), step.payload)); err != nil {
			t.Fatal(err)
		}
		if n := used(); n != step.used {
			t.Errorf("step %d: %d records, want %d", i, n, step.used)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}
