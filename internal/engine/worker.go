package engine

import (
	"fmt"

	"github.com/HdrHistogram/hdrhistogram-go"

	"verdictd/internal/nfq"
	"verdictd/internal/packet"
	"verdictd/internal/policy"
)

// worker owns one queue and everything that a packet meets on its way. All of
// it belongs to the thread that receives.
type worker struct {
	queue    nfq.Queue
	policy   *policy.Policy
	analyst  *analyst
	guard    *guard // nil: off
	view     packet.View
	key      packet.Key
	reply    nfq.Reply
	replied  int64 // replies since the last flush
	counters Counters
	latency  *hdrhistogram.Histogram
}

// handle judges a batch.
func (w *worker) handle(b *nfq.Batch) error {
	w.counters.Received += uint64(len(b.Packets))
	if w.guard != nil {
		w.guard.begin(b)
	}
	for i := range b.Packets {
		if err := w.judge(b, &b.Packets[i]); err != nil {
			return err
		}
	}
	return w.flush(b)
}

// judge decides on one packet.
func (w *worker) judge(b *nfq.Batch, p *nfq.Packet) error {
	if p.CapLen > uint32(len(p.Payload)) {
		w.counters.Truncated++
	}
	known := w.view.Decode(p.Payload) == nil
	action := w.policy.Default()
	if known {
		w.view.Key(&w.key)
		action = w.policy.Decide(&w.view)
	} else {
		w.counters.Undecodable++
	}

	analysed := w.analyst != nil && known && w.analyst.spend(&w.key)
	switch {
	case action == policy.Drop:
		w.counters.Dropped++
		if err := w.answer(p, nfq.Drop); err != nil {
			return err
		}
	case w.guard != nil && known:
		if err := w.guard.pass(w, b, p); err != nil {
			return err
		}
	default:
		if err := w.accept(p); err != nil {
			return err
		}
	}
	if analysed {
		// Whoever thinks long answers when it is done, not when the batch is.
		return w.flush(b)
	}
	return nil
}

func (w *worker) accept(p *nfq.Packet) error {
	w.counters.Accepted++
	return w.answer(p, nfq.Accept)
}

func (w *worker) answer(p *nfq.Packet, v nfq.Verdict) error {
	w.replied++
	w.reply = nfq.Reply{ID: p.ID, Of: p.Of, Verdict: v}
	return w.queue.Reply(&w.reply)
}

// flush returns the verdicts so far to the kernel. When they are back, packets
// that were held for it are sent anew, and the flows count as confirmed. The
// held packets themselves are answered last: one that cannot be sent anew is
// still there to be accepted.
func (w *worker) flush(b *nfq.Batch) error {
	if err := w.sendReplies(b); err != nil {
		return err
	}
	if w.guard == nil {
		return nil
	}
	if err := w.guard.resendHeld(w, b); err != nil {
		return err
	}
	w.guard.confirmed()
	return w.sendReplies(b)
}

func (w *worker) sendReplies(b *nfq.Batch) error {
	if w.replied == 0 {
		return nil
	}
	if err := w.queue.Flush(); err != nil {
		return err
	}
	if err := w.latency.RecordValues(nfq.Now()-b.Received, w.replied); err != nil {
		return fmt.Errorf("record a verdict's latency: %w", err)
	}
	w.replied = 0
	return nil
}
