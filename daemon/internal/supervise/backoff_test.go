package supervise

import (
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	var b backoff
	var all time.Duration
	last := time.Duration(-1)
	for range 1000 {
		pause := b.failed(0)
		if pause < last || pause > longestPause {
			t.Fatalf("a pause of %v after one of %v", pause, last)
		}
		last = pause
		all += pause
	}
	if last != longestPause || all < 900*longestPause {
		t.Errorf("the last pause is %v", last)
	}
	b.proven()
	if pause := b.failed(time.Hour); pause != 0 {
		t.Errorf("a pause of %v after the first failure", pause)
	}
	for range 10 {
		if pause := b.failed(time.Second); pause > time.Second/4 {
			t.Errorf("a pause of %v where nobody waits for longer than a second", pause)
		}
	}
}
