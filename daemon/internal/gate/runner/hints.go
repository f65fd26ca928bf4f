package runner

import "verdictd/internal/packet"

// dropped is a packet that the verdict engine dropped.
type dropped struct {
	key   packet.Key // its flow's
	print uint32
}

// Hints is engine.Hints: what the verdict engine of this process tells. It says
// when to ask conntrack, and is no proof of a confirm: other queues may be before
// or behind the engine's.
type Hints struct{ g *Gate }

// Wanted implements engine.Hints.
func (h Hints) Wanted() bool { return h.g.holding.Load() > 0 }

// Returned implements engine.Hints.
func (h Hints) Returned(verdicts int) { h.g.moved(verdicts) }

// Dropped implements engine.Hints. Where the packet was given another address
// behind the gate, or is in a zone, its flow is not found, and is known to be gone
// later.
func (h Hints) Dropped(k *packet.Key, fingerprint uint32) {
	d := dropped{key: *k, print: fingerprint}
	flowKey(&d.key, 0)
	for _, w := range h.g.workers {
		if w.holding.Load() > 0 && w.drops.Push(d) {
			w.bell.ring()
		}
	}
}
