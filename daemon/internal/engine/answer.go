package engine

import (
	"verdictd/internal/nfq"
	"verdictd/internal/vocabulary"
)

// markVerdict is how rules of the kernel are told an action.
func markVerdict(a vocabulary.Action) vocabulary.MarkVerdict {
	switch a {
	case vocabulary.Accept:
		return vocabulary.MarkAccept
	case vocabulary.Drop:
		return vocabulary.MarkDrop
	case vocabulary.Reject:
		return vocabulary.MarkReject
	}
	return vocabulary.MarkNone // where it goes on to judges it
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
	case v.Mark.Mask|v.ConnMark.Mask != 0 || v.Flow || v.Action >= vocabulary.Reject || p.Mark&uint32(w.judge.marks) != 0:
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

// mark adds to the reply what the verdict changes about the packet and its flow, and has
// rules of the kernel do what a verdict cannot: reject it, and judge its flow.
//
// Such a packet is repeated with bits in its mark (vocabulary.Marks). One that comes with
// them already has met no rule that acts on them, or was repeated by a rule of the policy, so
// that is not done again: it would be for ever.
func (w *worker) mark(p *nfq.Packet) {
	v, r, m := &w.verdict, &w.reply, w.judge.marks
	mark := v.Mark.Changed(p.Mark)
	if m != 0 {
		mark = m.Set(mark, w.byRules(p))
	} else if v.Action == vocabulary.Repeat && mark == p.Mark {
		r.Verdict = nfq.Accept // nothing about it is another than before
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

// byRules has rules of the kernel carry out the verdict, where it takes them, and is what
// they are told.
func (w *worker) byRules(p *nfq.Packet) (value uint32) {
	v, r, m := &w.verdict, &w.reply, w.judge.marks
	if was := p.Mark & uint32(m); was != 0 && (was != m.Repeated() || v.Action == vocabulary.Repeat) {
		if r.Verdict == nfq.Repeat {
			r.Verdict = nfq.Accept
		}
		return 0
	}
	by, generation := markVerdict(v.Action), w.judge.generation
	switch {
	case v.Action == vocabulary.Repeat:
		return m.Repeated()
	case v.Flow && generation != 0 && by != vocabulary.MarkNone:
		w.counters.Flows++
	case v.Action == vocabulary.Reject:
		generation = 0
	default:
		return 0
	}
	r.Verdict = nfq.Repeat
	return m.Value(by, generation)
}
