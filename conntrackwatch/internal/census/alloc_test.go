//go:build !race

package census

import (
	"testing"

	"verdictd/internal/ct"
)

// TestEventAllocatesNothing is off under the race detector, which allocates itself. The table grows by itself: it is
// warm here.
func TestEventAllocatesNothing(t *testing.T) {
	c := settled(Config{})
	e := event(ct.EventNew, 1)
	round := func() {
		for id := range uint32(100) {
			e.ID = id
			e.Type = ct.EventNew
			c.Event(e, epoch)
			e.Type = ct.EventUpdate
			c.Event(e, epoch)
			e.Type = ct.EventDestroy
			c.Event(e, epoch)
		}
	}
	round()
	if allocs := testing.AllocsPerRun(100, round); allocs != 0 {
		t.Errorf("%v allocations for 300 events", allocs)
	}
}

func BenchmarkEvent(b *testing.B) {
	c := settled(Config{})
	e := event(ct.EventNew, 1)
	b.ReportAllocs()
	for b.Loop() {
		e.ID++
		e.Type = ct.EventNew
		c.Event(e, epoch)
		e.Type = ct.EventDestroy
		c.Event(e, epoch)
	}
}
