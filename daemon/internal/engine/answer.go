package engine

import (
	"verdictd/daemon/internal/policy"
	"verdictd/internal/nfq"
	"verdictd/internal/vocabulary"
)

// Marks are what a packet is marked with so that rules of the kernel behind the queue do
// with it what a verdict cannot. Such a packet is accepted. One without bits is not there:
// a packet that is to be rejected is dropped then, and a verdict is for the packet alone.
type Marks struct {
	// Reject has the kernel tell the sender.
	Reject policy.Masked
	// FlowAccept, FlowDrop and FlowReject are for the flow.
	FlowAccept, FlowDrop, FlowReject policy.Masked
}

// flow is the mark of a verdict for the flow.
func (m *Marks) flow(a vocabulary.Action) policy.Masked {
	switch a {
	case vocabulary.Accept:
		return m.FlowAccept
	case vocabulary.Drop:
		return m.FlowDrop
	case vocabulary.Reject:
		return m.FlowReject
	}
	return policy.Masked{} // where it goes on to judges it
}

// answer lays out the verdict on the packet in w.view.
func (w *worker) answer(p *nfq.Packet) error {
	w.counters.Received++
	return w.answerHeld(p)
}

// answerHeld is answer for a packet that was counted as received before.
func (w *worker) answerHeld(p *nfq.Packet) error {
	v := &w.verdict
	w.judge.hits[w.rule]++
	w.reply = nfq.Reply{ID: p.ID, Queue: p.Queue, Verdict: w.kernelVerdict(v.Action), Again: p.Again}
	switch {
	case v.Mark.Mask|v.ConnMark.Mask != 0 || v.Flow || v.Action == vocabulary.Reject:
		w.mark(p)
	case v.Action == vocabulary.Drop && w.view.Version != 0:
		w.noteDrop()
	}
	w.replied++
	return w.queue.Reply(&w.reply)
}

// kernelVerdict is what the kernel is told, and counts it.
func (w *worker) kernelVerdict(a vocabulary.Action) nfq.Verdict {
	c := &w.counters
	switch a {
	case vocabulary.Drop:
		c.Dropped++
		return nfq.Drop
	case vocabulary.Reject:
		c.Dropped++
		c.Rejected++
		return nfq.Drop
	case vocabulary.Requeue:
		c.Accepted++
		c.Requeued++
		return nfq.Requeue(w.verdict.Queue)
	case vocabulary.Repeat:
		c.Accepted++
		c.Repeated++
		return nfq.Repeat
	}
	c.Accepted++
	return nfq.Accept
}

// mark adds to the reply what the verdict changes about the packet and its flow.
func (w *worker) mark(p *nfq.Packet) {
	v, r := &w.verdict, &w.reply
	mark := v.Mark.Changed(p.Mark)
	var by policy.Masked
	if v.Action == vocabulary.Reject {
		by = w.judge.marks.Reject
	}
	if flow := w.judge.marks.flow(v.Action); v.Flow && flow.Mask != 0 {
		by = flow
		w.counters.Flows++
	}
	if by.Mask != 0 {
		r.Verdict = nfq.Accept
		mark = by.Changed(mark)
	}
	if mark != p.Mark {
		r.SetMark, r.Mark = true, mark
	}
	if v.ConnMark.Mask != 0 {
		r.SetConnMark, r.ConnMark, r.ConnMarkMask = true, v.ConnMark.Value, v.ConnMark.Mask
	}
	if r.Verdict == nfq.Drop && w.view.Version != 0 {
		w.noteDrop()
	}
}
