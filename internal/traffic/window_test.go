package traffic

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

func TestWindow(t *testing.T) {
	const timeout = time.Second
	l := NewLedger(testRun, 3, 5, 2)
	var closed []int
	w := newWindow(2, timeout, l.Received, func(fds []int) { closed = append(closed, fds...) })
	occupy := func(now int64, flow uint32, expect int) {
		t.Helper()
		s, wait := w.free(now)
		if s == nil {
			t.Fatalf("flow %d at %d: no place for another %v", flow, now, wait)
		}
		*s = slot{busy: true, flow: flow, expect: expect, started: now, fds: append(s.fds, int(flow)+100)}
	}
	full := func(now int64, want time.Duration) {
		t.Helper()
		if s, wait := w.free(now); s != nil || wait != want {
			t.Fatalf("at %d: %+v, %v; want none for %v", now, s, wait, want)
		}
	}

	occupy(0, 0, 5)
	occupy(100, 1, 4) // one of its packets was refused by the kernel
	full(200, timeout-200)
	for _, p := range burst(1)[:4] {
		l.Record(p, netip.AddrPort{})
	}
	occupy(300, 2, 5) // in place of flow 1, which is complete
	if !slices.Equal(closed, []int{101}) || w.expired != 0 {
		t.Fatalf("closed %v, %d expired; want 101 closed", closed, w.expired)
	}
	full(int64(timeout)-1, 1)
	occupy(int64(timeout), 1, 5) // in place of flow 0, whose time is up
	if !slices.Equal(closed, []int{101, 100}) || w.expired != 1 {
		t.Fatalf("closed %v, %d expired; want 100 closed and one expired", closed, w.expired)
	}
	w.retireAll()
	slices.Sort(closed)
	if !slices.Equal(closed, []int{100, 101, 101, 102}) {
		t.Errorf("closed %v", closed)
	}
}
