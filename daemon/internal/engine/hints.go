package engine

import "verdictd/internal/packet"

// Hints is told by workers what became of packets. Who implements it must neither
// block nor allocate, and bears calls from all workers at once.
type Hints interface {
	// Wanted reports whether anybody waits to be told, and is cheap.
	Wanted() bool
	// Dropped says that the policy dropped a packet and that its verdict has returned, or
	// that the packet waits for the next one of its flow.
	// Key and fingerprint are those that the packet has at the queue, so behind NAT not
	// those that it came with.
	Dropped(k *packet.Key, fingerprint uint32)
	// Returned says that so many verdicts have returned: whatever was accepted has run
	// through the hooks behind the queue. The drops among them were told before.
	Returned(verdicts int)
}

// drop is one that is told when its verdict has returned.
type drop struct {
	key         packet.Key
	fingerprint uint32
}

// noteDrop keeps the drop of the packet in w.view, if anybody waits for one.
func (w *worker) noteDrop() {
	if w.hints == nil || len(w.drops) == cap(w.drops) || !w.hints.Wanted() {
		return
	}
	w.drops = w.drops[:len(w.drops)+1]
	d := &w.drops[len(w.drops)-1]
	w.view.Key(&d.key)
	d.fingerprint = w.view.Fingerprint()
}

// returned tells what the flush has done that just returned.
func (w *worker) returned(verdicts int) {
	if w.hints == nil {
		return
	}
	for i := range w.drops {
		w.hints.Dropped(&w.drops[i].key, w.drops[i].fingerprint)
	}
	w.drops = w.drops[:0]
	w.hints.Returned(verdicts)
}
