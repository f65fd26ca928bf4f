//go:build !race

package limit

import (
	"testing"
	"time"
)

// The race detector's own allocations would be counted.
func TestTakeDoesNotAllocate(t *testing.T) {
	l := newLimit(t, Rate{Count: 1000, Interval: time.Second, Burst: 1}, 64)
	k, now := key(1), int64(0)
	if n := testing.AllocsPerRun(1000, func() { now += 1e5; k[0]++; l.Take(k, now); l.Left(k, now) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkTake(b *testing.B) {
	for name, keys := range map[string]int{"rule": 0, "source": 65536} {
		b.Run(name, func(b *testing.B) {
			l := newLimit(b, Rate{Count: 1000, Interval: time.Second, Burst: 1}, keys)
			k, now := key(1), int64(0)
			for b.Loop() {
				now += 1000
				k[0]++
				l.Take(k, now)
			}
		})
	}
}
