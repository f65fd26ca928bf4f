package traffic

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Also with more threads than CPUs: no burst starts before every helper is there, each helper sends once a burst,
// and it all ends.
func TestBarrier(t *testing.T) {
	for _, helpers := range []int{0, 1, 3, 2*runtime.NumCPU() + 1} {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(helpers + 2))
		const bursts = 300
		b := newBarrier(helpers, runtime.NumCPU())
		var open atomic.Bool
		sends := make([]int, helpers)
		var ended sync.WaitGroup
		for i := range helpers {
			ended.Add(1)
			onThread(func() {
				defer ended.Done()
				b.help(func() {
					if !open.Load() {
						t.Error("sent outside of a burst")
					}
					sends[i]++
				})
			})
		}
		for n := range bursts {
			if n%100 == 99 {
				time.Sleep(5 * time.Millisecond) // long enough for helpers to fall asleep
			}
			b.gather()
			open.Store(true)
			b.release()
			b.finish()
			open.Store(false)
			for i, got := range sends {
				if got != n+1 {
					t.Fatalf("%d helpers, burst %d: helper %d sent %d times", helpers, n, i, got)
				}
			}
		}
		b.stop()
		ended.Wait()
	}
}

func TestEventWakes(t *testing.T) {
	var e event
	seen := e.load()
	start := time.Now()
	e.wait(seen, 10*time.Millisecond)
	if d := time.Since(start); d < 10*time.Millisecond && e.load() == seen {
		t.Logf("woke after %v without cause, which is allowed", d)
	}
	go func() {
		for e.waiters.Load() == 0 {
			runtime.Gosched()
		}
		e.bump()
	}()
	start = time.Now()
	for e.load() == seen {
		e.wait(seen, time.Minute)
	}
	if d := time.Since(start); d > 30*time.Second {
		t.Errorf("a bump took %v to wake the sleeper", d)
	}
}
