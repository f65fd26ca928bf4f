//go:build !race

package flow

import (
	"testing"
)

// TestNoAllocation is off under the race detector, which allocates itself.
func TestNoAllocation(t *testing.T) {
	table := newTestTable(t, 2, 1<<10)
	a, b := table.Queue(0), table.Queue(1)
	payload := make([]byte, 100)
	n := 0
	clock := func() int64 { return int64(n) }
	resend := func(Copy) {}
	step := func() {
		n++
		id := testID(table, n)
		a.SeenEmpty(int64(n))
		if d, _ := a.Decide(id, EntryUnknown, int64(n)); d == First {
			a.Decide(id, EntryUnknown, int64(n))
			if _, owner := b.Decide(id, EntryUnknown, int64(n)); !b.HandOver(owner, Copy{ID: id, Packet: payload}) {
				t.Error("a packet was not taken")
			}
		}
		a.Confirmed(clock, resend)
	}
	step() // the lists and the mailbox get their memory
	if allocs := testing.AllocsPerRun(500, step); allocs != 0 {
		t.Errorf("%v allocations for a flow", allocs)
	}
}
