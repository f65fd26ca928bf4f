package flow

import (
	"encoding/binary"
	"strings"
	"sync"
	"testing"
	"time"

	"verdictd/internal/packet"
)

const (
	grace = int64(time.Millisecond)
	idle  = 100 * grace
)

func newTestTable(t testing.TB, queues, flows int) *Table {
	t.Helper()
	table, err := NewTable(Config{Queues: queues, Flows: flows, Grace: time.Duration(grace), Idle: time.Duration(idle)})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func testID(table *Table, n int) ID {
	var k packet.Key
	binary.NativeEndian.PutUint64(k[:], uint64(n))
	return table.ID(&k)
}

func decide(t *testing.T, q *Queue, id ID, entry Entry, now int64, want Decision) {
	t.Helper()
	if got, _ := q.Decide(id, entry, now); got != want {
		t.Errorf("at %v: decision %d, want %d", time.Duration(now), got, want)
	}
}

func confirm(q *Queue, at int64) {
	q.Confirmed(func() int64 { return at }, func(Copy) {})
}

// TestOneFlow follows a flow from its first packet until it is forgotten.
func TestOneFlow(t *testing.T) {
	table := newTestTable(t, 1, 8)
	q, id := table.Queue(0), testID(table, 1)
	now := 10 * grace
	decide(t, q, id, EntryUnknown, now, First)
	decide(t, q, id, EntryUnknown, now, Further) // in the same batch
	if !q.Judging() {
		t.Error("nothing to confirm after a first packet")
	}
	q.Resent(id)
	confirm(q, now)
	if q.Judging() {
		t.Error("still judging after Confirmed")
	}
	decide(t, q, id, EntryUnknown, now, Further)
	q.SeenEmpty(now + grace - 1) // within the grace
	decide(t, q, id, EntryUnknown, now+grace, Further)
	q.SeenEmpty(now + grace)
	decide(t, q, id, EntryUnknown, now+grace, Pass)
	decide(t, q, id, EntryUnknown, now+idle-1, Pass) // and was seen
	decide(t, q, id, EntryUnknown, now+2*idle-2, Pass)
	decide(t, q, id, EntryUnknown, now+4*idle, First) // forgotten
}

// TestFirstPacketDroppedLater: the verdict on a flow's first packet does not
// prove that the flow is confirmed, as a rule behind the queue may have dropped
// the packet. A copy that came through does.
func TestFirstPacketDroppedLater(t *testing.T) {
	table := newTestTable(t, 2, 8)
	q, other, id := table.Queue(0), table.Queue(1), testID(table, 1)
	decide(t, q, id, EntryUnknown, grace, First)
	confirm(q, grace)
	q.SeenEmpty(9 * grace)
	decide(t, q, id, EntryUnknown, 9*grace, Further)
	decide(t, other, id, EntryUnknown, 9*grace, Foreign) // two copies at once could clash
	confirm(q, 9*grace)                                  // the copy was dropped too
	q.SeenEmpty(19 * grace)
	decide(t, q, id, EntryUnknown, 19*grace, Further)
	other.Resent(id) // not the judge's
	q.Resent(id)
	confirm(q, 19*grace)
	decide(t, q, id, EntryUnknown, 19*grace, Further)
	q.SeenEmpty(20 * grace)
	decide(t, q, id, EntryUnknown, 20*grace, Pass)
}

// TestDrop: where further packets are dropped, no copy proves anything.
func TestDrop(t *testing.T) {
	table, err := NewTable(Config{Queues: 1, Flows: 8, Grace: time.Duration(grace), Idle: time.Duration(idle), Drop: true})
	if err != nil {
		t.Fatal(err)
	}
	q, id := table.Queue(0), testID(table, 1)
	decide(t, q, id, EntryUnknown, grace, First)
	decide(t, q, id, EntryUnknown, grace, Further)
	confirm(q, grace)
	q.SeenEmpty(2 * grace)
	decide(t, q, id, EntryUnknown, 2*grace, Pass)
}

// TestForgottenByAnIdleQueue: the socket was not seen empty since the flow was
// confirmed long ago. The packet may be old, and its copy may be what confirms
// the flow anew.
func TestForgottenByAnIdleQueue(t *testing.T) {
	table := newTestTable(t, 1, 8)
	q, id := table.Queue(0), testID(table, 1)
	decide(t, q, id, EntryUnknown, grace, First)
	confirm(q, grace)
	late := 10 * idle
	decide(t, q, id, EntryUnknown, late, Further)
	if !q.Judging() {
		t.Fatal("a copy that may confirm the flow is not awaited")
	}
	q.Resent(id)
	confirm(q, late)
	q.SeenEmpty(late - 1)
	decide(t, q, id, EntryUnknown, late, Further)
	q.SeenEmpty(late + grace)
	decide(t, q, id, EntryUnknown, late+grace, Pass)
}

func TestExactEntries(t *testing.T) {
	table := newTestTable(t, 1, 8)
	q, id := table.Queue(0), testID(table, 1)
	decide(t, q, id, EntryConfirmed, grace, Pass)
	if q.Judging() {
		t.Error("a confirmed packet took a slot")
	}
	decide(t, q, id, EntryUnconfirmed, grace, First)
	decide(t, q, id, EntryConfirmed, grace, Further) // must not overtake those that wait
	confirm(q, grace)
	decide(t, q, id, EntryConfirmed, grace, Pass)
	decide(t, q, id, EntryUnconfirmed, grace, Further)
	confirm(q, 2*grace)
	q.SeenEmpty(4 * grace)
	// Unconfirmed though the flow settled: its first packet was dropped later on.
	decide(t, q, id, EntryUnconfirmed, 4*grace, First)
}

// TestSettlingIsEachQueuesOwn: one queue has a backlog from before the confirm.
func TestSettlingIsEachQueuesOwn(t *testing.T) {
	table := newTestTable(t, 2, 8)
	a, b, id := table.Queue(0), table.Queue(1), testID(table, 1)
	decide(t, a, id, EntryUnknown, grace, First)
	a.Resent(id)
	confirm(a, grace)
	a.SeenEmpty(3 * grace)
	decide(t, a, id, EntryUnknown, 3*grace, Pass)
	decide(t, b, id, EntryUnknown, 3*grace, Further)
}

func TestHandOver(t *testing.T) {
	table := newTestTable(t, 2, 8)
	a, b, id := table.Queue(0), table.Queue(1), testID(table, 1)
	decide(t, a, id, EntryUnknown, grace, First)
	if d, owner := b.Decide(id, EntryUnknown, grace); d != Foreign || owner != 0 {
		t.Fatalf("decision %d, owner %d, want Foreign and 0", d, owner)
	}
	for i, p := range []string{"one", "two"} {
		if !b.HandOver(0, Copy{ID: id, Packet: []byte(p), Mark: uint32(i), Dev: 7}) {
			t.Fatalf("packet %q was not taken", p)
		}
	}
	if b.HandOver(1, Copy{ID: id, Packet: []byte("x")}) {
		t.Error("a queue that does not judge the flow took a packet")
	}
	var got []string
	a.Confirmed(func() int64 { return 2 * grace }, func(c Copy) {
		if int(c.Mark) != len(got) || c.ID != id || c.Dev != 7 {
			t.Errorf("copy %+v", c)
		}
		got = append(got, string(c.Packet))
	})
	if strings.Join(got, " ") != "one two" {
		t.Errorf("sent anew: %q", got)
	}
	if b.HandOver(0, Copy{ID: id, Packet: []byte("late")}) {
		t.Error("a packet was taken after the verdict had returned")
	}
	decide(t, b, id, EntryUnknown, 2*grace, Further)

	// A mailbox that is full refuses, and loses nothing.
	c := testID(table, 2)
	decide(t, a, c, EntryUnknown, 3*grace, First)
	taken := 0
	for b.HandOver(0, Copy{ID: c, Packet: make([]byte, 60000)}) {
		taken++
	}
	given := 0
	a.Confirmed(func() int64 { return 4 * grace }, func(c Copy) { given += len(c.Packet) })
	if taken == 0 || given != taken*60000 {
		t.Errorf("%d packets taken, %d bytes given back", taken, given)
	}
}

// TestFull fills the only bucket.
func TestFull(t *testing.T) {
	table := newTestTable(t, 2, 1)
	q, other := table.Queue(0), table.Queue(1)
	other.Waiting(true)
	for i := range bucketSlots {
		decide(t, q, testID(table, i), EntryUnknown, 10*grace, First)
	}
	extra := testID(table, 100)
	decide(t, q, extra, EntryUnknown, 10*grace, Full)
	confirm(q, 10*grace)
	// All unsettled: no room. Then settled, but the overflow's copy may have
	// confirmed the flow later than this packet was looked up.
	decide(t, q, extra, EntryUnknown, 10*grace, Full)
	confirm(q, 11*grace)
	q.SeenEmpty(11*grace + grace/2)
	decide(t, q, extra, EntryUnknown, 20*grace, Full)
	confirm(q, 20*grace)
	q.SeenEmpty(21 * grace)
	decide(t, q, extra, EntryUnknown, 30*grace, First)

	// Evicted was the flow that was idle longest; the others are remembered.
	known := 0
	for i := range bucketSlots {
		if table.buckets[0].find(testID(table, i)) != nil {
			known++
		}
	}
	if known != bucketSlots-1 {
		t.Errorf("%d flows are known, want all but one", known)
	}

	// A queue that was not seen empty keeps every flow.
	other.Waiting(false)
	decide(t, q, testID(table, 101), EntryUnknown, 90*grace, Full)
}

// TestConcurrentQueues has the race detector look at queues that share flows:
// each flow must have exactly one first packet, and every packet that was handed
// over must come back once.
func TestConcurrentQueues(t *testing.T) {
	const queues, flows, packets = 4, 64, 20000
	table := newTestTable(t, queues, 8*flows)
	var group sync.WaitGroup
	var mu sync.Mutex
	firsts := map[ID]int{}
	handed, adopted := 0, 0
	for i := range queues {
		q := table.Queue(i)
		group.Go(func() {
			mine := map[ID]int{}
			sent, got := 0, 0
			flush := func() { q.Confirmed(func() int64 { return grace }, func(Copy) { got++ }) }
			for n := range packets {
				id := testID(table, n%flows)
				switch d, owner := q.Decide(id, EntryUnknown, grace); d {
				case First:
					mine[id]++
				case Foreign:
					if q.HandOver(owner, Copy{ID: id, Packet: []byte("packet")}) {
						sent++
					}
				case Pass, Full:
					t.Errorf("decision %d", d)
				}
				if n%16 == 0 && q.Judging() {
					flush()
				}
			}
			flush()
			mu.Lock()
			defer mu.Unlock()
			handed += sent
			adopted += got
			for id, n := range mine {
				firsts[id] += n
			}
		})
	}
	group.Wait()
	if len(firsts) != flows {
		t.Errorf("%d flows of %d had a first packet", len(firsts), flows)
	}
	for id, n := range firsts {
		if n != 1 {
			t.Errorf("flow %x had %d first packets", id, n)
		}
	}
	if handed != adopted {
		t.Errorf("%d packets handed over, %d came back", handed, adopted)
	}
}

func TestConfigErrors(t *testing.T) {
	_, err := NewTable(Config{Queues: 0, Flows: -1, Grace: 0, Idle: 0})
	for _, word := range []string{"queues", "flows", "grace", "idle"} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("error %v does not name %s", err, word)
		}
	}
}

func TestMemory(t *testing.T) {
	for _, flows := range []int{1, 8, 9, 1000, 1 << 16} {
		table := newTestTable(t, 1, flows)
		room := len(table.buckets) * bucketSlots
		if room < flows || room > max(2*flows, bucketSlots) {
			t.Errorf("%d flows: room for %d", flows, room)
		}
		if table.Bytes() != room*FlowBytes {
			t.Errorf("%d flows: %d bytes, want %d a flow", flows, table.Bytes(), FlowBytes)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	var k packet.Key
	b.Run("settled", func(b *testing.B) {
		table := newTestTable(b, 1, 1<<16)
		q := table.Queue(0)
		for i := range 1 << 12 {
			q.Decide(testID(table, i), EntryUnknown, 1)
			q.Resent(testID(table, i))
			confirm(q, 1)
		}
		q.SeenEmpty(grace + 1)
		b.ReportAllocs()
		for n := 0; b.Loop(); n++ {
			binary.NativeEndian.PutUint64(k[:], uint64(n%(1<<12)))
			if d, _ := q.Decide(table.ID(&k), EntryUnknown, grace+1); d != Pass {
				b.Fatal(d)
			}
		}
	})
	b.Run("first", func(b *testing.B) {
		table := newTestTable(b, 1, 1<<16)
		q := table.Queue(0)
		b.ReportAllocs()
		for n := 0; b.Loop(); n++ {
			now := int64(n)*grace*4 + 1
			q.SeenEmpty(now - 1)
			binary.NativeEndian.PutUint64(k[:], uint64(n))
			if d, _ := q.Decide(table.ID(&k), EntryUnknown, now); d != First {
				b.Fatal(d)
			}
			q.Confirmed(func() int64 { return now }, nil)
		}
	})
}
