package guard

import (
	"sync/atomic"

	"verdictd/daemon/internal/gate/runner"
	"verdictd/internal/packet"
)

// hints are for the verdict engine, which is there before the gate.
type hints struct{ gate atomic.Pointer[runner.Gate] }

// Wanted implements engine.Hints.
func (h *hints) Wanted() bool {
	g := h.gate.Load()
	return g != nil && g.Hints().Wanted()
}

// Dropped implements engine.Hints.
func (h *hints) Dropped(k *packet.Key, fingerprint uint32) {
	if g := h.gate.Load(); g != nil {
		g.Hints().Dropped(k, fingerprint)
	}
}

// Returned implements engine.Hints.
func (h *hints) Returned(verdicts int) {
	if g := h.gate.Load(); g != nil {
		g.Hints().Returned(verdicts)
	}
}

// Gate is the open gate; nil: there is none. It may be called from any goroutine.
func (k *Keeper) Gate() *runner.Gate { return k.hints.gate.Load() }
