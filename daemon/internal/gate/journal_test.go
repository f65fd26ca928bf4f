package gate

import (
	"testing"
	"time"
)

// journaled is a table that holds further packets of a few flows, with its journal.
func journaled(t *testing.T, journal []Record, drop bool) *Table {
	t.Helper()
	cfg := Default()
	cfg.Flows, cfg.Journal, cfg.Drop = 8, journal, drop
	g, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func used(journal []Record) (n int) {
	for i := range journal {
		if journal[i].Used {
			n++
		}
	}
	return n
}

// TestRestore: a next table has what one held, in the order in which it came, and lets
// none of it go before conntrack has the flow or the dark is over.
func TestRestore(t *testing.T) {
	journal := make([]Record, 16)
	g := journaled(t, journal, false)
	g.Begin(int64(time.Minute), 1)
	// The ids of a queue begin again after 2^32.
	for i := range uint32(5) {
		p := &Packet{ID: 1<<32 - 2 + i, Queue: 3, Bytes: 100, Print: i}
		p.Key[1], p.Key[39] = 17, 5
		g.Packet(p)
	}
	if n := used(journal); n != 4 || g.Held() != 4 {
		t.Fatalf("%d packets are in the journal, %d are held; want 4", n, g.Held())
	}
	// A process ends between the decision and the verdict: the packets are still there.
	g.Verdicts = nil

	next := journaled(t, journal, false)
	next.Begin(int64(time.Minute), 1)
	var ids []uint32
	next.Restore(func(_ uint16, id uint32) { ids = append(ids, id) })
	if len(ids) != 4 || ids[0] != 1<<32-1 || ids[3] != 2 || next.Held() != 4 || next.HeldBytes() != g.HeldBytes() {
		t.Errorf("restored %d, %d held", ids, next.Held())
	}
	if len(next.Verdicts) != 0 || next.Dark() == 0 {
		t.Errorf("verdicts %v, dark %d; want none before conntrack was asked", next.Verdicts, next.Dark())
	}
	var q [4]Question
	if n := next.Questions(q[:]); n != 1 {
		t.Fatalf("%d questions, want one for the flow", n)
	}
	next.Answer(q[0].Flow, true)
	if len(next.Verdicts) != 4 || !next.Verdicts[0].Again || next.Verdicts[0].ID != 1<<32-1 {
		t.Errorf("verdicts %v, want four that may have been given before", next.Verdicts)
	}
	if n := used(journal); n != 4 {
		t.Errorf("%d packets are in the journal before their verdicts have returned, want 4", n)
	}
	next.Returned()
	if n := used(journal); n != 0 {
		t.Errorf("%d packets are in the journal when their verdicts have returned", n)
	}
}

// TestRestoreDark: the first packet is known to be gone when the dark ends; the next one
// takes its place, and the others wait for it.
func TestRestoreDark(t *testing.T) {
	journal := make([]Record, 16)
	g := journaled(t, journal, false)
	g.Begin(int64(time.Minute), 1)
	for i := range uint32(3) {
		p := &Packet{ID: 1 + i, Bytes: 100, Print: i}
		p.Key[1] = 17
		g.Packet(p)
	}
	next := journaled(t, journal, false)
	next.Begin(int64(time.Minute), 1)
	next.Restore(func(uint16, uint32) {})
	next.Begin(int64(time.Minute+time.Millisecond), 2)
	next.Resolve(1)
	var q [4]Question
	if n := next.Questions(q[:]); n != 1 {
		t.Fatalf("%d questions, want one for the flow", n)
	}
	next.Answer(q[0].Flow, false)
	if len(next.Verdicts) != 1 || next.Verdicts[0].ID != 2 || next.Held() != 1 {
		t.Errorf("verdicts %v, %d held; want the oldest to go on alone", next.Verdicts, next.Held())
	}
	next.Returned()
	if n := used(journal); n != 1 {
		t.Errorf("%d packets are in the journal, want one", n)
	}
}

// TestRestoreWithoutRoom: what has no place among the flows goes on.
func TestRestoreWithoutRoom(t *testing.T) {
	journal := make([]Record, 32)
	for i := range 20 {
		journal[i] = Record{ID: uint32(i), Size: 600, Used: true}
		journal[i].Key[1], journal[i].Key[39] = 17, byte(i)
	}
	g := journaled(t, journal, false)
	g.Begin(int64(time.Minute), 1)
	g.Restore(func(uint16, uint32) {})
	if g.Held() != 8 || len(g.Verdicts) != 12 || g.Counters.Unguarded != 12 {
		t.Errorf("%d held, %d verdicts, %d unguarded; want room for 8 flows", g.Held(), len(g.Verdicts), g.Counters.Unguarded)
	}
	g.Returned()
	if n := used(journal); n != 8 {
		t.Errorf("%d packets are in the journal, want 8", n)
	}
}

// TestRestoreDrop: in mode drop nobody knows either what of a flow is on its way.
func TestRestoreDrop(t *testing.T) {
	journal := make([]Record, 4)
	for id := range uint32(2) {
		journal[id] = Record{ID: 7 + id, Size: 600, Used: true}
		journal[id].Key[1] = 17
	}
	g := journaled(t, journal, true)
	g.Begin(int64(time.Minute), 1)
	g.Restore(func(uint16, uint32) {})
	var q [4]Question
	if n := g.Questions(q[:]); n != 1 || g.Dark() != 1 {
		t.Fatalf("%d questions, dark %d", n, g.Dark())
	}
	if g.Answer(q[0].Flow, false); len(g.Verdicts) != 0 {
		t.Errorf("verdicts %v while a first packet may be on its way", g.Verdicts)
	}
	g.Begin(int64(time.Minute)+1, 2)
	g.Resolve(1)
	if n := g.Questions(q[:]); n != 1 {
		t.Fatalf("%d questions when the dark is over", n)
	}
	g.Answer(q[0].Flow, false)
	if len(g.Verdicts) != 1 || !g.Verdicts[0].Accept || g.Verdicts[0].ID != 7 {
		t.Errorf("verdicts %v, want the first packet to go on", g.Verdicts)
	}
}
