package runner

import (
	"testing"
	"time"
)

func TestBarriers(t *testing.T) {
	woken := make(chan struct{}, 10)
	b := startBarriers(func() { woken <- struct{}{} })
	defer b.stop()
	if !membarrier() {
		t.Log("this kernel refuses membarrier: a time is waited for instead")
	}
	for range 3 {
		if b.ended() {
			t.Error("a barrier ended that had not begun")
		}
		b.begin()
		if !b.underWay {
			t.Error("no barrier is under way")
		}
		select {
		case <-woken:
		case <-time.After(5 * time.Second):
			t.Fatal("a barrier does not end")
		}
		if !b.ended() || b.underWay {
			t.Error("a barrier that has returned has not ended")
		}
	}
}
