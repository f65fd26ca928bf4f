package limit

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func newLimit(t testing.TB, r Rate, keys int) *Limit {
	t.Helper()
	l, err := New(r, keys)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func key(i int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(i)) }

// tokens counts what a bucket gives at one time.
func tokens(l *Limit, k []byte, now time.Duration) (n int) {
	for l.Left(k, int64(now)) {
		if !l.Take(k, int64(now)) {
			return -1 // Left has lied
		}
		n++
	}
	if l.Take(k, int64(now)) {
		return -1
	}
	return n
}

func TestRate(t *testing.T) {
	for _, keys := range []int{0, 100} {
		l := newLimit(t, Rate{Count: 100, Interval: time.Second, Burst: 20}, keys)
		start := time.Hour
		for _, step := range []struct {
			at   time.Duration
			want int
		}{{0, 20}, {0, 0}, {9 * time.Millisecond, 0}, {10 * time.Millisecond, 1}, {50 * time.Millisecond, 4}, {time.Second, 20}, {time.Hour, 20}} {
			if got := tokens(l, key(1), start+step.at); got != step.want {
				t.Errorf("%d keys: %d tokens at %v; want %d", keys, got, step.at, step.want)
			}
		}
	}
}

// However much is asked for, and in whatever steps, the rate is kept.
func TestLongRun(t *testing.T) {
	for _, count := range []uint64{1, 7, 1000, 3_000_000} {
		l := newLimit(t, Rate{Count: count, Interval: time.Second, Burst: 10}, 0)
		got, end := uint64(0), int64(2*time.Second)
		if count < 10 {
			end = int64(200 * time.Second)
		}
		step := max(int64(time.Second)/int64(count)/3, 1)
		for now := int64(0); now < end; now += step {
			if l.Take(nil, now) {
				got++
			}
		}
		want := count*uint64(end)/uint64(time.Second) + 9
		if got > want+want/5000+1 || got+want/1000+2 < want {
			t.Errorf("%d a second: %d in %v; want %d", count, got, time.Duration(end), want)
		}
	}
}

// Keys have buckets of their own, as long as there is room.
func TestKeys(t *testing.T) {
	l := newLimit(t, Rate{Count: 1, Interval: time.Second, Burst: 3}, 4096)
	const n = 500
	for i := range n {
		if got := tokens(l, key(i), time.Second); got != 3 {
			t.Fatalf("key %d has %d tokens; want 3", i, got)
		}
	}
	for i := range n {
		if got := tokens(l, key(i), time.Second); got != 0 {
			t.Fatalf("key %d has %d tokens more", i, got)
		}
	}
	if l.Shared() != 0 {
		t.Errorf("%d keys share buckets", l.Shared())
	}
}

// A flood of keys does not help one that is over its rate, and the flood is limited.
func TestFlood(t *testing.T) {
	l := newLimit(t, Rate{Count: 1, Interval: time.Second, Burst: 5}, 64)
	now := int64(time.Hour)
	for l.Take(key(-1), now) {
	}
	passed := 0
	for i := range 100_000 {
		if l.Take(key(i), now) {
			passed++
		}
		if l.Take(key(-1), now) {
			t.Fatalf("after %d other keys there is more than its rate", i)
		}
	}
	if most := 64 * 5; passed > most {
		t.Errorf("%d packets have passed; want %d at most", passed, most)
	}
	if l.Shared() == 0 {
		t.Error("no key has shared a bucket")
	}
}

// The rate is that of all workers together.
func TestThreads(t *testing.T) {
	for _, keys := range []int{0, 16} {
		l := newLimit(t, Rate{Count: 100, Interval: time.Second, Burst: 100}, keys)
		var group sync.WaitGroup
		var passed atomic.Int64
		for range 4 {
			group.Go(func() {
				for i := range 20_000 { // 2 s
					if l.Take(key(7), int64(time.Hour)+int64(i)*int64(100*time.Microsecond)) {
						passed.Add(1)
					}
				}
			})
		}
		group.Wait()
		// Time goes back a little where threads are not in step: who is ahead counts.
		if got := passed.Load(); got < 250 || got > 301 {
			t.Errorf("%d keys: %d have passed; want 300", keys, got)
		}
	}
}

func TestNew(t *testing.T) {
	for _, r := range []Rate{
		{}, {Count: 1, Interval: time.Second}, {Count: 1, Burst: 1}, {Interval: time.Second, Burst: 1},
		{Count: 1, Interval: time.Hour, Burst: 1e6}, {Count: 1, Interval: time.Second, Burst: 1 << 63}, {Count: 1, Interval: 1<<63 - 1, Burst: 1},
	} {
		if _, err := New(r, 0); err == nil {
			t.Errorf("%+v passes", r)
		}
	}
	l := newLimit(t, Rate{Count: 1 << 63, Interval: 1, Burst: 1}, 1)
	if len(l.groups) != 1 || !l.Take(nil, 1) {
		t.Error("a rate beyond every clock lets nothing pass")
	}
}
