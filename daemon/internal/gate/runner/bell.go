package runner

import (
	"sync/atomic"

	"verdictd/internal/nfnl"
)

// A bell wakes the goroutine that waits for it, and costs nothing while it rings
// already. Who rings has left the news before.
type bell struct {
	*nfnl.Alarm
	rung atomic.Bool
}

func (b *bell) ring() {
	if !b.rung.Swap(true) {
		b.Ring()
	}
}

// silence is to be called before looking for news.
func (b *bell) silence() {
	if b.rung.Load() {
		b.Reset()
		b.rung.Store(false)
	}
}
