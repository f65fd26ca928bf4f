package engine

import (
	"time"

	"verdictd/daemon/internal/names"
	"verdictd/daemon/internal/names/flows"
	"verdictd/daemon/internal/policy"
	"verdictd/internal/nfq"
	"verdictd/internal/vocabulary"
)

// unixNow is the time of day in seconds.
func unixNow() int64 { return time.Now().Unix() }

// foundName is a name that a verdict is due to, for the log.
type foundName struct {
	state    names.State
	protocol flows.Protocol
	length   int
	text     [names.MaxHost]byte
}

func (n *foundName) set(r *flows.Result) {
	n.state, n.protocol = r.State, r.Protocol
	n.length = copy(n.text[:], r.Name)
}

// decide judges a packet, which is in w.view then, with the result in w.verdict and
// w.rule. The view is empty, without a version, where it could not be decoded.
func (w *worker) decide(p *nfq.Packet) {
	if w.view.DecodeCopy(p.Payload, p.Length()) != nil {
		w.counters.Undecodable++
		w.rule = len(w.judge.hits) - 1
		w.verdict = policy.Verdict{Action: w.judge.undecodable}
		return
	}
	in := &w.input
	in.Hook, in.Mark, in.InDev, in.OutDev = p.Hook, p.Mark, p.InDev, p.OutDev
	if w.judge.more {
		in.CT, in.ConnMark = policy.CTOf(uint32(p.CTInfo), p.CTStatus, p.HasCT), p.CTMark
		in.UID, in.GID, in.HasUID, in.HasGID = p.UID, p.GID, p.HasUID, p.HasGID
	}
	if w.judge.names != nil {
		w.decideByName(p)
	} else {
		w.judge.decider.Decide(in, &w.verdict)
		w.countOnly(p, &w.verdict)
	}
	w.ruled()
}

// ruled says what the packet counts for: not for a rule that has not decided yet.
func (w *worker) ruled() {
	if w.rule = w.verdict.Rule; w.verdict.Pending {
		w.rule = len(w.judge.hits) - 2
	}
}

// fresh reports whether a packet may begin a connection. Where the kernel does not say
// (CONFIG_NETFILTER_NETLINK_GLUE_CT), any may: ports are used again, and a name of the
// connection before would be taken for that of this one.
func fresh(p *nfq.Packet) bool { return !p.HasCTInfo || p.CTInfo == nfq.CTNew }

// decideByName judges the packet in w.view once for each name that it has, of which the
// strictest verdict counts.
func (w *worker) decideByName(p *nfq.Packet) {
	t := w.judge.names
	t.Begin(&w.view, fresh(p), w.reading.now)
	for first := true; ; first = false {
		r, ok := t.Next()
		if !ok {
			break
		}
		w.input.Name = r
		w.judge.decider.Decide(&w.input, &w.another)
		w.countOnly(p, &w.another)
		if first || w.another.Stricter(&w.verdict) {
			w.verdict = w.another
			w.name.set(&r)
		}
	}
	if w.verdict.Hold && (!t.FromClient() || len(w.view.Payload()) == 0) {
		w.verdict.Hold = false // it has no part of the name, and without it none may come
	}
	switch w.verdict.Action {
	case vocabulary.Accept, vocabulary.Requeue:
		// Held ones, too: what comes behind them is to be put together with them.
		t.Accept()
	}
}

// decideWithoutName judges the packet in w.view, whose name is not waited for any longer.
func (w *worker) decideWithoutName(p *nfq.Packet) {
	w.input.Name = flows.Result{State: names.TooLong, Protocol: w.name.protocol}
	w.judge.decider.Decide(&w.input, &w.verdict)
	w.countOnly(p, &w.verdict)
	w.verdict.Hold = false
	w.name.set(&w.input.Name)
	w.ruled()
}

// countOnly counts for rules that only count. What is to be held will be judged again.
func (w *worker) countOnly(p *nfq.Packet, v *policy.Verdict) {
	if v.Hold {
		return
	}
	for _, rule := range v.Counted {
		w.judge.hits[rule]++
		if w.judge.notes != nil {
			w.noteRule(p, int(rule), vocabulary.Count, w.input.Name)
		}
	}
}

// result is the name that the verdict is due to.
func (n *foundName) result() flows.Result {
	return flows.Result{State: n.state, Protocol: n.protocol, Name: n.text[:n.length]}
}
