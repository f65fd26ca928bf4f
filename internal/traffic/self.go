package traffic

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/metrics"
	"time"
)

// Self is what this process holds.
type Self struct {
	Heap        uint64 `json:"heap_bytes"` // of objects that can still be reached
	Descriptors int    `json:"descriptors"`
	Goroutines  int    `json:"goroutines"`
}

// ReadSelf collects the garbage and reads.
func ReadSelf() (s Self, err error) {
	// The runtime makes descriptors of its own when the first pipe or socket is waited for: have them counted from the
	// start.
	r, w, err := os.Pipe()
	if err != nil {
		return s, fmt.Errorf("read what this process holds: %w", err)
	}
	if err := errors.Join(r.Close(), w.Close()); err != nil {
		return s, err
	}
	runtime.GC() // finds what is free
	runtime.GC() // and what finalizers let go
	heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(heap)
	s.Heap = heap[0].Value.Uint64()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return s, fmt.Errorf("read what this process holds: %w", err)
	}
	s.Descriptors = len(entries) - 1 // without the directory's own
	s.Goroutines = runtime.NumGoroutine()
	return s, nil
}

// SettleSelf reads until there are no more descriptors and goroutines than before, or patience is over: a goroutine may
// still be on its way out when what it did is done.
func SettleSelf(before Self, patience time.Duration) (Self, error) {
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		now, err := ReadSelf()
		if err != nil || now.Descriptors <= before.Descriptors && now.Goroutines <= before.Goroutines ||
			time.Now().After(end) {
			return now, err
		}
	}
}

// Violations say what is still held that was not before; of live objects some growth is allowed.
func (s *Self) Violations(before Self, growth uint64) []string {
	var all []string
	if s.Heap > before.Heap+growth {
		all = append(all, fmt.Sprintf("%d KiB of live objects are left, %d KiB before (allowed growth %d KiB)", s.Heap>>10,
			before.Heap>>10, growth>>10))
	}
	if s.Descriptors > before.Descriptors {
		all = append(all, fmt.Sprintf("%d descriptors are left open, %d before", s.Descriptors, before.Descriptors))
	}
	if s.Goroutines > before.Goroutines {
		all = append(all, fmt.Sprintf("%d goroutines are left, %d before", s.Goroutines, before.Goroutines))
	}
	return all
}
