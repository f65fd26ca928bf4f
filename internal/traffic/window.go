package traffic

import "time"

// window bounds the flows in flight. A flow leaves when all packets of it that the kernel took have arrived (with
// echo: come back), or when its time is up; then whatever sockets it kept are closed. Only the leading thread
// uses it; arrivals reach it through the ledger.
type window struct {
	arrived func(flow uint32) int // packets of the flow
	timeout int64                 // nanoseconds
	slots   []slot
	next    int
	expired uint64
	discard func(fds []int)
}

type slot struct {
	busy    bool
	flow    uint32
	expect  int
	started int64
	fds     []int
}

func newWindow(limit int, timeout time.Duration, arrived func(uint32) int, discard func([]int)) *window {
	return &window{arrived: arrived, timeout: int64(timeout), slots: make([]slot, limit), discard: discard}
}

// free finds a slot at the given time. Where there is none it returns nil and how long it takes, arrivals aside,
// until one expires.
func (w *window) free(now int64) (*slot, time.Duration) {
	earliest := w.timeout
	for range w.slots {
		s := &w.slots[w.next]
		w.next = (w.next + 1) % len(w.slots)
		left := s.started + w.timeout - now
		arrived := s.busy && w.arrived(s.flow) >= s.expect
		if !s.busy || arrived || left <= 0 {
			if s.busy && !arrived {
				w.expired++
			}
			w.retire(s)
			return s, 0
		}
		earliest = min(earliest, left)
	}
	return nil, time.Duration(earliest)
}

func (w *window) retire(s *slot) {
	if len(s.fds) > 0 {
		w.discard(s.fds)
	}
	s.fds = s.fds[:0]
	s.busy = false
}

// retireAll closes what is still open, at the end of the run.
func (w *window) retireAll() {
	for i := range w.slots {
		w.retire(&w.slots[i])
	}
}
