package ring

import "sync/atomic"

// A Ring hands values from several goroutines to one, without a lock and within
// bounds: what does not fit is refused.
type Ring[T any] struct {
	slots []slot[T]
	tail  atomic.Uint64 // next to be written
	head  uint64        // next to be read; the reader's own
}

// turn tells whose a slot is: n for the writer of the n-th value, n+1 for its
// reader.
type slot[T any] struct {
	turn  atomic.Uint64
	value T
}

// New makes one with room for size values, a power of two.
func New[T any](size int) *Ring[T] {
	r := &Ring[T]{slots: make([]slot[T], size)}
	for i := range r.slots {
		r.slots[i].turn.Store(uint64(i))
	}
	return r
}

// Push hands a value over, from any goroutine; false: there is no room for it.
func (r *Ring[T]) Push(v T) bool {
	for {
		n := r.tail.Load()
		s := &r.slots[n%uint64(len(r.slots))]
		switch turn := s.turn.Load(); {
		case turn < n:
			return false // not read yet since the round before
		case turn == n && r.tail.CompareAndSwap(n, n+1):
			s.value = v
			s.turn.Store(n + 1)
			return true
		}
	}
}

// Pop takes the oldest value, on the one goroutine that reads.
func (r *Ring[T]) Pop() (v T, ok bool) {
	s := &r.slots[r.head%uint64(len(r.slots))]
	if s.turn.Load() != r.head+1 {
		return v, false
	}
	v = s.value
	s.turn.Store(r.head + uint64(len(r.slots)))
	r.head++
	return v, true
}
