package engine

import (
	"errors"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/flow"
	"verdictd/internal/nfq"
	"verdictd/internal/packet"
)

// GuardMode says what becomes of further packets of a flow that has not
// settled (see package flow).
type GuardMode string

const (
	// GuardOff gives them back, as Verdict3 did: for reproduction and comparison.
	GuardOff GuardMode = "off"
	// GuardReinject drops the queued packet and sends its bytes once more.
	GuardReinject GuardMode = "reinject"
	// GuardDrop drops them, where re-injection cannot work.
	GuardDrop GuardMode = "drop"
)

// Sender sends a packet anew (package reinject).
type Sender interface {
	Send(packet []byte, mark, dev uint32) error
	Close() error
}

// Prover tells whether conntrack has confirmed a flow (package ct).
type Prover interface {
	Confirmed(k *packet.Key) (bool, error)
	Close() error
}

// loopbackIndex is lo's interface index in every network namespace
// (LOOPBACK_IFINDEX, include/net/flow.h).
const loopbackIndex = 1

// handOverPatience bounds the wait for another queue's verdict. It ends by
// itself unless that queue's thread is stuck.
const handOverPatience = time.Second

// guard stands between a worker's policy and the kernel.
type guard struct {
	table  *flow.Table
	flows  *flow.Queue
	mode   GuardMode
	dnat   GuardMode // instead of mode, where the destination was rewritten
	mark   uint32
	at     HookSet
	dnatAt HookSet
	sender Sender // nil in GuardDrop
	prover Prover // nil: this kernel does not tell
	held   []held
	// adopt is w.adopt, made once: a method value allocates.
	adopt func(flow.Copy)
}

// open gets what re-injection needs; close is to be called even if it fails.
func (g *guard) open(cfg *Config) (err error) {
	if g.sender, err = cfg.NewSender(); err != nil {
		g.sender = nil
		return err
	}
	if cfg.NewProver != nil {
		if g.prover, err = cfg.NewProver(); err != nil {
			g.prover = nil
		}
	}
	return err
}

func (g *guard) close() error {
	var errs []error
	if g.sender != nil {
		errs = append(errs, g.sender.Close())
	}
	if g.prover != nil {
		errs = append(errs, g.prover.Close())
	}
	return errors.Join(errs...)
}

// held is a packet that waits to be sent anew until the verdicts before it are
// back.
type held struct {
	packet *nfq.Packet
	id     flow.ID
}

func (g *guard) begin(b *nfq.Batch) {
	g.flows.SeenEmpty(b.EmptyAt)
}

// pass lets a packet pass that the policy accepted, one way or another.
func (g *guard) pass(w *worker, b *nfq.Batch, p *nfq.Packet) error {
	if p.Mark&g.mark != 0 {
		w.counters.Looped++
		return w.accept(p)
	}
	if !g.at.has(p.Hook) || !exposed(w, p) {
		return w.accept(p)
	}
	entry := entryOf(p)
	if entry != flow.EntryUnknown {
		w.counters.EntryKnown++
	}
	if entry == flow.EntryConfirmed && len(g.held) == 0 && g.table.Quiet() {
		return w.accept(p) // nothing is there that it could overtake
	}
	mode := g.modeFor(p)
	if mode == GuardOff || mode == GuardReinject && detours(p.Hook) && g.prover == nil {
		if entry != flow.EntryConfirmed {
			w.counters.Unguarded++
		}
		return w.accept(p)
	}
	id := g.table.ID(&w.key)
	decision, owner := g.decide(id, entry, b.Received)
	if decision == flow.Foreign {
		if mode == GuardReinject && copyable(p) && !detours(p.Hook) && g.flows.HandOver(owner, copyOf(id, p)) {
			w.counters.Further++
			w.counters.HandedOver++
			return w.answer(p, nfq.Drop)
		}
		var err error
		if decision, err = g.await(w, b, id, p, mode); err != nil {
			return err
		}
	}
	switch decision {
	case flow.Pass:
		return w.accept(p)
	case flow.First:
		w.counters.First++
		if mode == GuardDrop {
			g.flows.Resent(id) // no copy will prove the flow
		}
		return w.accept(p)
	case flow.Full:
		w.counters.TableFull++
	}
	w.counters.Further++
	if mode == GuardDrop {
		w.counters.GuardDropped++
		return w.answer(p, nfq.Drop)
	}
	g.held = append(g.held, held{p, id})
	return nil
}

// modeFor is the guard's mode for a packet.
func (g *guard) modeFor(p *nfq.Packet) GuardMode {
	if g.mode != GuardReinject {
		return g.mode
	}
	translated := p.Of == ofTranslated || p.Translated()
	if p.Of == 0 && !p.HasCT {
		translated = g.dnatAt.has(p.Hook) // nobody tells
	}
	if translated {
		return g.dnat
	}
	return g.mode
}

// decide asks package flow, unless a packet of the same flow is held already:
// this one must not overtake it.
func (g *guard) decide(id flow.ID, entry flow.Entry, now int64) (flow.Decision, int) {
	for i := range g.held {
		if g.held[i].id == id {
			return flow.Further, 0
		}
	}
	return g.flows.Decide(id, entry, now)
}

// exposed reports whether the packet can carry an unconfirmed entry that
// clashes, and can be sent anew.
func exposed(w *worker, p *nfq.Packet) bool {
	v := &w.view
	switch {
	case v.Protocol == unix.IPPROTO_TCP:
		// A connection's second packet answers its first one's reply.
		return false
	case p.Hook == nfq.HookInput && p.InDev == loopbackIndex:
		// Confirmed in POSTROUTING, before it came in through lo.
		return false
	case v.Fragment:
		// Conntrack reassembles before it looks up: here is no conntrack.
		return false
	case v.Protocol == unix.IPPROTO_ICMP:
		return makesEntry4(v.ICMPType)
	case v.Protocol == unix.IPPROTO_ICMPV6:
		return makesEntry6(v.ICMPType)
	case p.Hook != nfq.HookOutput && v.Dst().IsMulticast():
		// A copy would leave this machine once more (INPUT, FORWARD), or loop back
		// once more (POSTROUTING, which sees the looped clone too).
		w.counters.Unguarded++
		return false
	}
	return true
}

// makesEntry4 and makesEntry6 tell the ICMP types that begin a flow. Errors are
// related to another's entry, answers without an entry are invalid, and
// neighbour discovery is not tracked (kernel: icmp_new and noct_valid_new in
// nf_conntrack_proto_icmp.c and _icmpv6.c).
func makesEntry4(typ uint8) bool {
	const echo, timestamp, information, mask = 8, 13, 15, 17
	return typ == echo || typ == timestamp || typ == information || typ == mask
}

func makesEntry6(typ uint8) bool {
	const echo, nodeInformation = 128, 139
	return typ == echo || typ == nodeInformation
}

func entryOf(p *nfq.Packet) flow.Entry {
	switch p.Of {
	case ofConfirmed:
		return flow.EntryConfirmed
	case ofUnconfirmed, ofTranslated:
		return flow.EntryUnconfirmed
	}
	switch {
	case !p.HasCT:
		return flow.EntryUnknown
	case p.Confirmed():
		return flow.EntryConfirmed
	}
	return flow.EntryUnconfirmed
}

// copyable reports whether the queue brought all that a copy needs.
func copyable(p *nfq.Packet) bool {
	return p.CapLen <= uint32(len(p.Payload)) && !p.ChecksumNotReady && !p.GSO
}

// await waits until the flow's first packet was given back by the queue that
// judges it. This queue's own verdicts are returned first: who waits judges
// nothing, so no two queues can wait for each other.
func (g *guard) await(w *worker, b *nfq.Batch, id flow.ID, p *nfq.Packet, mode GuardMode) (flow.Decision, error) {
	if mode == GuardDrop {
		return flow.Further, nil
	}
	if err := w.flush(b); err != nil {
		return 0, err
	}
	for end := nfq.Now() + int64(handOverPatience); nfq.Now() < end; runtime.Gosched() {
		if d, _ := g.flows.Decide(id, entryOf(p), nfq.Now()); d != flow.Foreign {
			return d, nil
		}
	}
	return flow.Further, nil
}

// confirmed is to be called when the verdicts so far are back and the held
// packets were sent anew.
func (g *guard) confirmed() {
	if g.flows.Judging() {
		g.flows.Confirmed(nfq.Now, g.adopt)
	}
}
