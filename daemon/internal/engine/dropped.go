package engine

import (
	"verdictd/daemon/internal/ring"
	"verdictd/internal/nfq"
	"verdictd/internal/packet"
)

// Dropped is a packet that the policy dropped, for who logs it.
type Dropped struct {
	Queue uint16
	Rule  string
	// Key is the packet's flow; its version is 0 where the packet cannot be decoded.
	Key packet.Key
	// Bytes is the packet's length.
	Bytes uint32
	// InDev and OutDev are interface indices, 0 where it has none.
	InDev, OutDev uint32
	// More were dropped by the same worker before it, since the last one that was kept.
	More uint64
}

// droppedKept are the most that wait to be logged.
const droppedKept = 1 << 10

// second is the time in which so many drops are kept, in nanoseconds.
const second = 1e9

// sampler keeps some drops of a worker: so many a second at most.
type sampler struct {
	to    *ring.Ring[Dropped]
	began int64 // of the second
	kept  int   // in it
	more  uint64
}

// keep is called for every drop, of the packet in the worker's view.
func (w *worker) keep(p *nfq.Packet, received int64) {
	s := &w.sampler
	if received-s.began >= second {
		s.began, s.kept = received, 0
	}
	if s.kept >= w.judge.logDrops {
		s.more++
		return
	}
	d := Dropped{
		Queue: p.Queue, Rule: w.judge.rules[w.rule].Name, Bytes: max(p.CapLen, uint32(len(p.Payload))),
		InDev: p.InDev, OutDev: p.OutDev, More: s.more,
	}
	if w.view.Version != 0 {
		w.view.Key(&d.Key)
	}
	if !s.to.Push(d) {
		s.more++
		return
	}
	s.kept, s.more = s.kept+1, 0
}

// Dropped takes a packet that was dropped, of those that Judgement.LogDrops keeps; false:
// there is none. For one goroutine.
func (e *Engine) Dropped() (d Dropped, ok bool) { return e.dropped.Pop() }
