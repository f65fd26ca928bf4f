package runner

import (
	"testing"
	"time"

	"verdictd/daemon/internal/gate"
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
		const now = 1000
		b.begin(now)
		if !b.underWay || b.late(now+usual) || !b.late(now+usual+1) {
			t.Error("no barrier is under way, or it is late too early or too late")
		}
		select {
		case <-woken:
		case <-time.After(5 * time.Second):
			t.Fatal("a barrier does not end")
		}
		if !b.ended() || b.underWay || b.late(now+usual+1) {
			t.Error("a barrier that has returned has not ended")
		}
	}
}

// TestLateBarrier: while the kernel is late to tell that packets are past the rules, the time does not count after
// which those behind them go on.
func TestLateBarrier(t *testing.T) {
	w := &watcher{gate: &Gate{}, barriers: &barriers{want: make(chan struct{}, 1)}}
	for now, want := range map[int64]gate.Judge{0: gate.Past, usual: gate.Past, usual + 1: gate.Waiting} {
		if w.barriers.underWay {
			<-w.barriers.want
		}
		w.barriers.begin(0)
		w.judge(now, true)
		if got := gate.Judge(w.gate.judge.Load()); got != want {
			t.Errorf("%v after a barrier began, programs are %d, want %d", time.Duration(now), got, want)
		}
	}
}
