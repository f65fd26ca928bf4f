package faults

import (
	"slices"
	"testing"
	"time"

	"verdictd/internal/traffic"
)

func TestSchedule(t *testing.T) {
	var count [4]int
	last := map[uint32]uint32{}
	for n := range uint32(cycle * 100) {
		c, flow := classOf(n)
		count[c]++
		if wanted(n) != (c == fresh || c == steady) {
			t.Errorf("packet %d of class %d: wanted is %v", n, c, wanted(n))
		}
		if c == steady {
			if before, ok := last[flow]; ok && before >= n || flow >= steadyFlows {
				t.Errorf("packet %d is of flow %d, as was %d", n, flow, before)
			}
			last[flow] = n
		}
	}
	if want := [4]int{400, 800, 100, 2700}; count != want {
		t.Errorf("%v packets of the classes, want %v", count, want)
	}
	if len(last) != steadyFlows {
		t.Errorf("%d steady flows, want %d", len(last), steadyFlows)
	}
}

// TestAccount: whatever can be wrong with a packet is told with the time at which it was sent.
func TestAccount(t *testing.T) {
	a := &account{run: 4}
	at := func(n uint32) time.Duration { return time.Duration(n) * time.Millisecond }
	arrive := func(n uint32) {
		payload := make([]byte, payloadSize)
		traffic.Header{Run: 4, Flow: n, Sent: int64(at(n))}.Put(payload)
		a.arrived(payload, at(n))
	}
	const packets = 2 * cycle
	for n := range uint32(packets) {
		a.sending(n, at(n))
	}
	skipped, late, policedOne := uint32(20), uint32(1), uint32(cycle+5)
	for n := range uint32(packets) {
		if c, _ := classOf(n); c != policed && n != skipped && n != late || n == policedOne {
			arrive(n)
		}
	}
	arrive(late)
	arrive(30)
	got := a.close(packets)
	want := []event{
		{reordered, at(late)}, {lost, at(skipped)}, {duplicated, at(30)}, {unjudged, at(policedOne)},
	}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	a.arrived([]byte("x"), 0)
	if a.corrupted != 1 {
		t.Errorf("%d corrupted, want 1", a.corrupted)
	}
}

// TestInForce: a policy that drops shows by what does not arrive any more, one that does not by what does.
func TestInForce(t *testing.T) {
	const takes = 8 * time.Millisecond
	a := &account{recentlySent: time.Second, switched: 990 * time.Millisecond}
	if !a.inForce(false, 980*time.Millisecond, takes) || a.inForce(false, time.Second, takes) {
		t.Error("a packet that was sent before says nothing of a policy that lets it pass")
	}
	if a.inForce(true, 900*time.Millisecond, takes) {
		t.Error("one has just passed")
	}
	a.recentlySent = 1100 * time.Millisecond
	if !a.inForce(true, time.Second, takes) || a.inForce(true, 1090*time.Millisecond, takes) {
		t.Error("none has passed for 110 ms, nor for 10 ms since the signal")
	}
}
