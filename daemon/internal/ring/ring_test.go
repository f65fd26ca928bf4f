package ring

import (
	"runtime"
	"sync"
	"testing"
)

func TestRingKeepsOrderAndBounds(t *testing.T) {
	r := New[int](4)
	if _, ok := r.Pop(); ok {
		t.Error("an empty ring has a value")
	}
	for round := range 5 { // the places are used again
		for i := range 4 {
			if !r.Push(10*round + i) {
				t.Fatalf("round %d: no room for value %d of 4", round, i)
			}
		}
		if r.Push(-1) {
			t.Errorf("round %d: a fifth value was taken", round)
		}
		for i := range 4 {
			if v, ok := r.Pop(); !ok || v != 10*round+i {
				t.Errorf("round %d: %d, %v; want %d", round, v, ok, 10*round+i)
			}
		}
	}
	if _, ok := r.Pop(); ok {
		t.Error("a value came twice")
	}
}

// TestRingOfManyWriters: each value that was taken is read once, and those of one
// writer in order.
func TestRingOfManyWriters(t *testing.T) {
	const writers, each = 4, 5000
	type value struct{ writer, n int }
	r := New[value](8)
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for n := range each {
				for !r.Push(value{w, n}) {
					runtime.Gosched()
				}
			}
		})
	}
	var next [writers]int
	for range writers * each {
		v, ok := r.Pop()
		for ; !ok; v, ok = r.Pop() {
			runtime.Gosched()
		}
		if v.n != next[v.writer] {
			t.Fatalf("writer %d: value %d, want %d", v.writer, v.n, next[v.writer])
		}
		next[v.writer]++
	}
	group.Wait()
	if _, ok := r.Pop(); ok {
		t.Error("a value came twice")
	}
}
