package gate

import (
	"testing"
	"time"

	"verdictd/internal/packet"
)

func key(n byte) packet.Key {
	k := packet.Key{0: 4, 1: 17, 4: 192, 6: 2, 7: n, 20: 198, 21: 51, 22: 100, 23: 1, 37: 9, 39: 53}
	FlowKey(&k, 0)
	return k
}

func newTable(t *testing.T, change func(*Config)) *Table {
	t.Helper()
	cfg := Default()
	cfg.Flows = 16
	if change != nil {
		change(&cfg)
	}
	table, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	table.Begin(int64(time.Second), 1)
	return table
}

// verdicts takes those there are, as ids, dropped ones negative.
func verdicts(t *Table) (ids []int) {
	for _, v := range t.Verdicts {
		id := int(v.ID)
		if !v.Accept {
			id = -id
		}
		ids = append(ids, id)
	}
	t.Verdicts = t.Verdicts[:0]
	return ids
}

func equal(t *testing.T, got, want []int) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("verdicts %v, want %v", got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("verdicts %v, want %v", got, want)
		}
	}
}

// Where addresses are translated conntrack has the first packet's own tuple, and the reverse one is nobody's.
func TestTheFirstPacketsOwnTupleIsAskedFor(t *testing.T) {
	g := newTable(t, nil)
	there := packet.Key{0: 4, 1: 17, 4: 198, 5: 51, 6: 100, 7: 1, 20: 192, 22: 2, 23: 1, 37: 9, 39: 53}
	back := packet.Key{0: 4, 1: 17, 4: 192, 6: 2, 7: 1, 20: 198, 21: 51, 22: 100, 23: 1, 37: 53, 39: 9}
	q := make([]Question, 8)
	id := uint32(0)
	for _, first := range []packet.Key{there, back} {
		for _, own := range []packet.Key{first, there, back} {
			id++
			p := Packet{Key: own, ID: id, Print: id, Bytes: 100}
			p.Turned = FlowKey(&p.Key, 0)
			g.Packet(&p)
		}
		soon(g)
		if n := g.Questions(q); n != 1 || q[0].Tuple != first {
			t.Fatalf("%d questions, for %v, want %v", n, q[0].Tuple, first)
		}
		// It is gone: the next one is the first, and that was on its way there.
		g.gone(q[0].Flow)
		g.Moved(1)
		if n := g.Questions(q); n != 1 || q[0].Tuple != there {
			t.Fatalf("%d questions, for %v, want %v", n, q[0].Tuple, there)
		}
		g.Answer(q[0].Flow, true)
		g.Begin(g.now+int64(time.Hour), 1)
	}
}

func TestFurtherPacketsWaitForTheEntry(t *testing.T) {
	g := newTable(t, nil)
	for id := range uint32(4) {
		g.Packet(&Packet{Key: key(1), ID: id + 1, Print: id, Bytes: 100})
	}
	equal(t, verdicts(g), []int{1})
	q := make([]Question, 8)
	if n := g.Questions(q); n != 0 {
		t.Fatalf("%d questions at once, where the flow cannot be known yet", n)
	}
	soon(g)
	if n := g.Questions(q); n != 1 {
		t.Fatalf("%d questions, want 1", n)
	}
	g.Answer(q[0].Flow, false)
	equal(t, verdicts(g), nil)
	if n := g.Questions(q); n != 0 {
		t.Fatalf("asked again at once")
	}
	g.Moved(1)
	if n := g.Questions(q); n != 1 {
		t.Fatalf("%d questions after a hint, want 1", n)
	}
	g.Answer(q[0].Flow, true)
	equal(t, verdicts(g), []int{2, 3, 4})
	if g.Held() != 0 || g.HeldBytes() != 0 {
		t.Errorf("%d packets and %d bytes are held", g.Held(), g.HeldBytes())
	}
}

func TestGoneReleasesOneAtATime(t *testing.T) {
	g := newTable(t, nil)
	for id := range uint32(3) {
		g.Packet(&Packet{Key: key(1), ID: id + 1, Print: id})
	}
	equal(t, verdicts(g), []int{1})
	q := make([]Question, 8)
	for want := 2; want <= 3; want++ {
		g.Answer(func() int32 { g.Questions(q); return q[0].Flow }(), false)
		g.Resolve(1)
		if n := g.Questions(q); n != 1 {
			t.Fatalf("%d questions when resolved", n)
		}
		g.Answer(q[0].Flow, false)
		equal(t, verdicts(g), []int{want})
	}
	if c := g.Counters; c.Gone != 2 || c.First != 3 {
		t.Errorf("counted %+v", c)
	}
}
