package engine

import (
	"errors"

	"verdictd/internal/flow"
	"verdictd/internal/nfq"
	"verdictd/internal/reinject"
)

// resendHeld sends the batch's further packets anew, in their order, and
// answers the queued ones.
func (g *guard) resendHeld(w *worker, b *nfq.Batch) error {
	for _, h := range g.held {
		if err := g.resendOne(w, b, h); err != nil {
			return err
		}
	}
	g.held = g.held[:0]
	return nil
}

func (g *guard) resendOne(w *worker, b *nfq.Batch, h held) error {
	p := h.packet
	if !copyable(p) {
		w.counters.ReinjectFailed++
		return w.answer(p, nfq.Accept)
	}
	if detours(p.Hook) {
		confirmed, err := g.confirmedFlow(w, p)
		if err != nil {
			w.counters.Unguarded++
			return w.answer(p, nfq.Accept)
		}
		if !confirmed {
			// Nothing to clash with: a rule behind the queue dropped the flow's packets so
			// far, and this one shall meet that rule itself. Or, where nobody tells of
			// entries, it answers packets that NAT has changed, and carries their entry.
			w.counters.GivenBack++
			if err := w.answer(p, nfq.Accept); err != nil {
				return err
			}
			return w.sendReplies(b) // before the next one is looked up
		}
	}
	verdict := nfq.Drop
	if !w.resend(copyOf(h.id, p), p) {
		// A possible clash is better than a certain loss.
		w.counters.ReinjectFailed++
		verdict = nfq.Accept
	}
	return w.answer(p, verdict)
}

// detours reports whether a packet's copy takes another way than the packet: it
// enters at OUTPUT, and so must not be used to get past rules behind the queue
// that the packet has yet to meet. Only where the flow's entry is confirmed has a
// packet of it passed them.
func detours(h nfq.Hook) bool {
	return h == nfq.HookInput || h == nfq.HookForward
}

func (g *guard) confirmedFlow(w *worker, p *nfq.Packet) (bool, error) {
	if err := w.view.Decode(p.Payload); err != nil {
		return false, err
	}
	w.view.Key(&w.key)
	w.counters.LookedUp++
	return g.prover.Confirmed(&w.key)
}

func copyOf(id flow.ID, p *nfq.Packet) flow.Copy {
	return flow.Copy{ID: id, Packet: p.Payload, Mark: p.Mark, Dev: p.OutDev}
}

// adopt sends a packet anew that another queue has handed over; that queue has
// answered it already.
func (w *worker) adopt(c flow.Copy) {
	w.counters.Adopted++
	if !w.resend(c, nil) {
		w.counters.ReinjectFailed++
	}
}

// resend sends a packet anew and reports whether that has dealt with it. p is
// the queued packet, nil if it is gone.
func (w *worker) resend(c flow.Copy, p *nfq.Packet) bool {
	err := w.guard.sender.Send(c.Packet, c.Mark, c.Dev)
	switch {
	case err == nil:
		w.counters.Reinjected++
		w.guard.flows.Resent(c.ID)
		return true
	case errors.Is(err, reinject.ErrFiltered) && (p == nil || sameWay(p)):
		w.counters.Filtered++
		return true
	}
	return false
}

// sameWay reports whether a rule that drops the copy would drop the packet too:
// not so if the packet only passes through this machine (which POSTROUTING shows
// by an interface that it came in through, since Linux 5.7) or stays on it, as
// the copy then meets rules of OUTPUT that are not for it.
func sameWay(p *nfq.Packet) bool {
	return !detours(p.Hook) && p.InDev == 0
}
