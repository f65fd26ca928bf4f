package guard

import (
	"testing"
	"time"
)

// The first time is at once, and so is each after a while of peace. In between it is ever
// longer, and never longer than a bound.
func TestFight(t *testing.T) {
	var f fight
	now := time.Unix(1e9, 0)
	if f.wait(now) != 0 {
		t.Error("the first time is not at once")
	}
	for want := fightFirst; want < fightMost; want *= 2 {
		if got := f.fought(now); got != want {
			t.Fatalf("a pause of %v, want %v", got, want)
		}
		if got := f.wait(now.Add(want / 2)); got != want/2 {
			t.Errorf("half way through %v it is still %v", want, got)
		}
		if now = now.Add(want); f.wait(now) != 0 {
			t.Errorf("no end after %v", want)
		}
	}
	for range 100 {
		if got := f.fought(now); got != fightMost {
			t.Fatalf("a pause of %v, want %v", got, fightMost)
		}
		now = now.Add(fightMost)
	}
	if got := f.fought(now.Add(fightMost + 2*fightOver)); got != fightFirst {
		t.Errorf("after peace a pause of %v, want %v", got, fightFirst)
	}
}
