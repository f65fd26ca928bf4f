package engine

import (
	"testing"

	"verdictd/internal/nfq"
)

// TestReading: all is read up to the last batch before one that left nothing, or, where there is always something, up
// to that behind which as many packets were read as the queue takes.
func TestReading(t *testing.T) {
	var r reading
	for i, tt := range []struct {
		at      int64
		packets int
		all     bool
		past    int64
	}{
		{10, 8, true, 0},
		{20, 8, false, 0},
		{30, 0, true, 20},
		{40, 8, false, 20},
		{50, 7, false, 20},
		{60, 1, false, 30}, // 16 packets since 30
		{70, 15, false, 30},
		{80, 15, false, 60},
		{90, 3, false, 60},
		{100, 1, true, 90},
		{110, 0, true, 100},
	} {
		b := &nfq.Batch{Received: tt.at, All: tt.all, Packets: make([]nfq.Packet, tt.packets)}
		r.begin(b, false)
		if r.note(b, 16); r.past != tt.past {
			t.Errorf("batch %d, at %d: all is read up to %d, want %d", i, tt.at, r.past, tt.past)
		}
	}
}

// TestReadingAsks: where the gate is asked for what waits, a stop is next to no time, and an overloaded machine's time
// goes on.
func TestReadingAsks(t *testing.T) {
	var r reading
	turn := func(at int64, asks bool) {
		b := &nfq.Batch{Received: at, All: true}
		r.begin(b, asks)
		r.note(b, 16)
	}
	turn(1e9, false)
	began := r.now
	turn(1e9+5e6, true)
	turn(3600e9, true)
	if r.now != began+5e6+askedStep || r.past != began+5e6 {
		t.Errorf("%d ms have passed, and all is read up to %d ms; want 30 and 5", (r.now-began)/1e6, (r.past-began)/1e6)
	}
	turn(7200e9, false)
	if r.now-began < 3600e9 {
		t.Errorf("%d ms have passed, want an hour that nothing waited in", (r.now-began)/1e6)
	}
}
