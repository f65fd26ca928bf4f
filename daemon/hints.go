package main

import (
	"sync/atomic"

	"verdictd/daemon/internal/gate/runner"
	"verdictd/internal/packet"
)

// gateHints are for the verdict engine, which is there before the gate.
type gateHints struct{ gate atomic.Pointer[runner.Gate] }

// Wanted implements engine.Hints.
func (h *gateHints) Wanted() bool {
	g := h.gate.Load()
	return g != nil && g.Hints().Wanted()
}

// Dropped implements engine.Hints.
func (h *gateHints) Dropped(k *packet.Key, fingerprint uint32) {
	if g := h.gate.Load(); g != nil {
		g.Hints().Dropped(k, fingerprint)
	}
}

// Returned implements engine.Hints.
func (h *gateHints) Returned(verdicts int) {
	if g := h.gate.Load(); g != nil {
		g.Hints().Returned(verdicts)
	}
}
