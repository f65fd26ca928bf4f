package statistics

import (
	"sync"
	"testing"
	"time"
)

// TestWindow looks at plain words that their owner counts up, at work and at rest.
func TestWindow(t *testing.T) {
	var w Window
	var first, second int // equal whenever the owner stands still
	stop := make(chan struct{})
	var owner sync.WaitGroup
	owner.Go(func() {
		w.Shut()
		defer w.Open()
		for turn := 0; ; turn++ {
			select {
			case <-stop:
				return
			default:
			}
			first++
			second++
			w.Turn()
			if turn%1000 == 0 {
				w.Open()
				time.Sleep(100 * time.Microsecond)
				w.Shut()
			}
		}
	})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			last := 0
			for range 300 {
				var a, b int
				if !w.Look(10*time.Second, func() { a, b = first, second }) {
					t.Error("the owner did not answer")
				}
				if a != b || a < last {
					t.Errorf("saw %d and %d after %d", a, b, last)
				}
				last = a
			}
		})
	}
	readers.Wait()
	close(stop)
	owner.Wait()
	if !w.Look(0, func() {}) {
		t.Error("an owner that has ended does not let others look")
	}
}

// TestWindowOfStuckOwner: who looks does not wait for it, and sees nothing half done.
func TestWindowOfStuckOwner(t *testing.T) {
	var w Window
	w.Shut()
	if w.Look(time.Millisecond, func() { t.Error("looked while the owner was at work") }) {
		t.Error("reports a look")
	}
	w.Turn()
	w.Open()
	seen := false
	if !w.Look(0, func() { seen = true }) || !seen {
		t.Error("did not see what an owner left that waits")
	}
	var none *Window
	none.Shut()
	none.Turn()
	none.Open()
}
