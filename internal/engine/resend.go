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
	undecided := g.held[:0]
	for _, h := range g.held {
		answered, err := g.resendOne(w, b, h)
		if err != nil {
			return err
		}
		if !answered {
			undecided = append(undecided, h)
		}
	}
	for _, h := range undecided {
		if err := g.answerFiltered(w, h); err != nil {
			return err
		}
	}
	g.held = g.held[:0]
	return nil
}

// resendOne sends one packet anew. Where it depends on what becomes of others
// whether to drop it, it is not answered.
func (g *guard) resendOne(w *worker, b *nfq.Batch, h held) (answered bool, err error) {
	p := h.packet
	if !copyable(p) {
		w.counters.ReinjectFailed++
		return true, w.answer(p, nfq.Accept)
	}
	if detours(p.Hook) {
		confirmed, err := g.confirmedFlow(w, p)
		if err != nil {
			w.counters.Unguarded++
			return true, w.answer(p, nfq.Accept)
		}
		if !confirmed {
			// Nothing to clash with: a rule behind the queue dropped the flow's packets so
			// far, and this one shall meet that rule itself. Or, where nobody tells of
			// entries, it answers packets that NAT has changed, and carries their entry.
			w.counters.GivenBack++
			if err := w.answer(p, nfq.Accept); err != nil {
				return true, err
			}
			return true, w.sendReplies(b) // before the next one is looked up
		}
	}
	err = w.resend(copyOf(h.id, p))
	switch filtered := errors.Is(err, reinject.ErrFiltered); {
	case err == nil:
		return true, w.answer(p, nfq.Drop)
	case filtered && passing(p):
		return false, nil
	case filtered && p.Hook != nfq.HookInput:
		// The packet would have met the same rule.
		w.counters.Filtered++
		return true, w.answer(p, nfq.Drop)
	}
	// A possible clash is better than a certain loss.
	w.counters.ReinjectFailed++
	return true, w.answer(p, nfq.Accept)
}

// passing reports whether the packet only passes through this machine, which
// POSTROUTING shows by an interface that it came in through (since Linux 5.7). Its
// copy meets rules of OUTPUT as well, which are not for it.
func passing(p *nfq.Packet) bool {
	return p.Hook == nfq.HookForward || p.Hook == nfq.HookPostrouting && p.InDev != 0
}

// answerFiltered decides on a packet that passes through, of which a rule has
// dropped the copy.
//
// Where another copy of the flow came through just now, that rule is not against
// the flow: it drops at random or by rate. If it is in POSTROUTING, as such rules
// are for what passes through, the packet was to meet it. Accepted, it would surely
// clash, so it is dropped. Otherwise it may be a rule of OUTPUT, which drops all
// copies and would never see the packets themselves.
func (g *guard) answerFiltered(w *worker, h held) error {
	if g.flows.Proved(h.id) {
		w.counters.Filtered++
		return w.answer(h.packet, nfq.Drop)
	}
	w.counters.ReinjectFailed++
	return w.answer(h.packet, nfq.Accept)
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
	switch err := w.resend(c); {
	case err == nil:
	case errors.Is(err, reinject.ErrFiltered):
		w.counters.Filtered++
	default:
		w.counters.ReinjectFailed++
	}
}

// resend sends a packet anew.
func (w *worker) resend(c flow.Copy) error {
	err := w.guard.sender.Send(c.Packet, c.Mark, c.Dev)
	if err == nil {
		w.counters.Reinjected++
		w.guard.flows.Resent(c.ID)
	}
	return err
}
