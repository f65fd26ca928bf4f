package gate

import "verdictd/internal/packet"

// A Packet is one that came to the gate.
type Packet struct {
	// Key is its flow's (FlowKey), Print tells it from other packets of the flow
	// (packet.View.Fingerprint), Bytes is its length.
	Key   packet.Key
	Print uint32
	Bytes uint32
	// Turned: its own tuple is the reverse of Key.
	Turned bool
	// ID and Queue are what a verdict needs.
	ID    uint32
	Queue uint16
	// Announced: it passed as one of a listed flow, but conntrack did not have it.
	Announced bool
	// Again: another process had it, and may have answered it.
	Again bool
}

// Packet takes a packet: it is in Verdicts then, or held.
func (t *Table) Packet(p *Packet) {
	t.Counters.Received++
	i := t.remembered(&p.Key)
	if i == none {
		t.Counters.Unguarded++
		t.Counters.UnguardedFlows++
		t.accept(p.ID, p.Queue, none)
		return
	}
	f := &t.flows[i]
	unseen := t.isDark() && f.seen < t.darkSince
	f.seen, f.passed = t.now, t.epoch
	if f.packets < 1<<15 {
		f.packets++
	}
	if f.listed != 0 {
		t.touch(i)
	}
	switch {
	case p.Announced:
		t.Counters.Announced++
		f.several = f.pending
		t.first(i, t.heldNow(p))
	case !f.pending && t.now < f.knownUntil:
		t.Counters.Passed++
		t.accept(p.ID, p.Queue, none)
		t.Verdicts[len(t.Verdicts)-1].Again = p.Again
	case unseen:
		if !f.pending {
			f.turned = p.Turned // as its first one was, as likely as not
		}
		t.awaitLight(i)
		t.hold(i, p)
	case !f.pending:
		t.Counters.First++
		t.first(i, t.heldNow(p))
	case t.comesAgain(f, p):
		t.Counters.Reentered++
		t.first(i, t.heldNow(p))
	default:
		t.hold(i, p)
	}
	t.propose(i)
}

// Exempt takes a packet that begins no flow of its own, or of which nothing is
// known.
func (t *Table) Exempt(id uint32, queue uint16) {
	t.Counters.Received++
	t.Counters.Exempt++
	t.accept(id, queue, none)
}

// comesAgain reports whether this is the first packet itself, which the kernel
// hands to the gate twice where a base chain was added before the gate's while it
// waited: the place where a packet goes on is a number.
func (t *Table) comesAgain(f *flow, p *Packet) bool {
	return p.Print == f.firstPrint && t.now-f.firstAt < reentry && t.chainAdded > f.firstSince-changeTold
}

// first lets a packet go on that conntrack may make an entry for.
func (t *Table) first(i int32, h held) {
	f := &t.flows[i]
	t.recent.remove(t.recentLinks, i)
	f.pending, f.knownUntil, f.passed = true, 0, t.epoch
	f.firstID, f.firstPrint, f.firstAt, f.firstSince, f.turned = h.id, h.print, t.now, h.at, h.turned
	t.setEpoch(i)
	t.accept(h.id, h.queue, i)
	t.Verdicts[len(t.Verdicts)-1].Again = h.again
}

func (t *Table) accept(id uint32, queue uint16, first int32) {
	t.Verdicts = append(t.Verdicts, Verdict{ID: id, Queue: queue, Accept: true, First: first})
}

// open ends the wait for a flow's first packet.
func (t *Table) open(i int32) {
	t.epochs[t.flows[i].epoch%EpochsKept].remove(t.epochLinks, i)
	t.idle(i)
}

// idle notes that nothing of a flow is on its way without a confirmed entry.
func (t *Table) idle(i int32) {
	f := &t.flows[i]
	if f.pending {
		t.recent.push(t.recentLinks, i)
	}
	f.pending, f.resolved, f.several = false, false, false
}
