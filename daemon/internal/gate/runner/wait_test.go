package runner

import (
	"testing"
	"time"

	"verdictd/internal/nfnl"
)

// TestCrowd: many turns in a millisecond are a crowd, until they are no more. A lone
// burst is none, however long ago the last one was.
func TestCrowd(t *testing.T) {
	var c crowd
	now := int64(time.Hour)
	turns := func(n int, gap time.Duration) (crowded int) {
		for range n {
			now += int64(gap)
			if c.turn(now) {
				crowded++
			}
		}
		return crowded
	}
	for range 20 {
		if n := turns(5, 5*time.Microsecond); n != 0 {
			t.Fatalf("%d turns of a lone burst were taken for a crowd", n)
		}
		now += int64(20 * time.Millisecond)
	}
	turns(1000, 20*time.Microsecond)
	if n := turns(100, 20*time.Microsecond); n != 100 {
		t.Errorf("%d of 100 turns in a crowd were known for it", n)
	}
	// Each turn is 50 us longer now.
	if n := turns(100, 75*time.Microsecond); n != 100 {
		t.Errorf("%d of 100 turns were known for a crowd that is slowed down", n)
	}
	now += int64(time.Second)
	if n := turns(20, 200*time.Microsecond); n > 1 {
		t.Errorf("%d of 20 turns were taken for a crowd when it was over", n)
	}
}

// TestLatePauses: where the kernel's timers are coarse nothing pauses, and it is tried
// again later.
func TestLatePauses(t *testing.T) {
	now := int64(time.Hour)
	crowded := func(c *crowd, pause time.Duration) (pauses int) {
		for end := now + int64(5*time.Second); now < end; now += int64(20 * time.Microsecond) {
			if c.turn(now) {
				c.paused(now, now+int64(pause))
				now += int64(pause)
				pauses++
			}
		}
		return pauses
	}
	var c crowd
	if n := crowded(&c, 4*time.Millisecond); n != crowdLates {
		t.Errorf("%d pauses of 4 ms, want %d", n, crowdLates)
	}
	now += crowdWithin
	if n := crowded(&c, crowdPause); n < 1000 {
		t.Errorf("%d pauses of the right length in 5 s", n)
	}
	for range 2 * crowdLates { // the CPU has other work now and then
		c.paused(now, now+2*crowdLate)
		c.paused(now, now+int64(crowdPause))
	}
	if n := crowded(&c, crowdPause); n < 1000 {
		t.Errorf("%d pauses in 5 s after some that were late", n)
	}
}

// TestPauseIsShort: it is about as long as it says.
func TestPauseIsShort(t *testing.T) {
	var p nfnl.Pause
	began := time.Now()
	for range 100 {
		p.Wait(crowdPause)
	}
	if d := time.Since(began); d < 100*crowdPause {
		t.Errorf("100 pauses took %v", d)
	}
}
