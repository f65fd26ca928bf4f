package engine

import (
	"verdictd/daemon/internal/policy"
	"verdictd/internal/nfq"
	"verdictd/internal/statistics"
)

// Replay judges packets that come from no kernel, such as those of a capture, by the code
// of a worker: what it says about a packet is what the daemon does with it. It belongs to
// one goroutine.
type Replay struct {
	w      *worker
	judged func(*Judged)
	unix   int64
	rules  int
}

// Judged is a packet with its verdict.
type Judged struct {
	ID      uint32
	Verdict *policy.Verdict
	// Rule is the place in Rules of what has decided, or of the rule that waits for a name.
	Rule int
	// Input is what rules could look at, with the name that the verdict is due to.
	Input *policy.Input
}

// NewReplay calls judged for each packet when its verdict is given, which may be later
// than Judge is called for it, as packets may wait for the name of their flow. What judged
// is given is valid until it returns.
func NewReplay(j Judgement, judged func(*Judged)) (*Replay, error) {
	if err := j.Validate(); err != nil {
		return nil, err
	}
	j.Analysis, j.Marks, j.LogDrops = Analysis{}, 0, 0
	j.Samples, j.Logs, j.SamplesOf = nil, nil, nil // nobody is told
	judge, err := newJudge(&j, 0, nil)
	if err != nil {
		return nil, err
	}
	judge.copied = 0 // a capture may have less of packets, and nobody copies them again
	r := &Replay{judged: judged, rules: j.Policy.Rules()}
	r.w = &worker{
		latency: statistics.NewHistogram(longestTime), window: &statistics.Window{}, queue: replayed{r: r},
		unix: func() int64 { return r.unix },
	}
	r.w.next.Store(judge)
	return r, nil
}

// Judge takes the next packet, at a time in nanoseconds that never goes back, and at a time
// of day in seconds since 1970.
func (r *Replay) Judge(p *nfq.Packet, now, unix int64) error {
	r.unix = unix
	// The daemon would have woken up before the packet for what has waited long enough. The first of two empty
	// batches says what was read before it (reading).
	for _, packets := range [][]nfq.Packet{nil, nil, {*p}} {
		if err := r.w.handle(&nfq.Batch{Packets: packets, Received: now, All: true}); err != nil {
			return err
		}
	}
	return nil
}

// End gives all that waits its verdict.
func (r *Replay) End() error { return r.w.release(anyFlow) }

// Rules are the rules, and what else there is to count behind them (Judgement.rules), with
// the packets that each has decided on.
func (r *Replay) Rules() []statistics.Rule {
	j := r.w.next.Load()
	rules := append([]statistics.Rule(nil), j.rules...)
	for i := range rules {
		rules[i].Packets = j.hits[i]
	}
	return rules
}

// Count is how many rules there are, without what else is counted.
func (r *Replay) Count() int { return r.rules }

// Explain says how the verdict on a packet comes about, within the call of judged for it.
// It counts nothing.
func (r *Replay) Explain(of *Judged) policy.Explanation { return r.w.judge.decider.Explain(of.Input) }

// replayed is a queue without a kernel.
type replayed struct {
	nfq.Queue // what a worker does not call for a packet
	r         *Replay
}

func (q replayed) Reply(*nfq.Reply) error {
	w := q.r.w
	in := w.input
	in.Name = w.name.result()
	rule := w.rule
	if w.verdict.Pending {
		rule = w.verdict.Rule
	}
	q.r.judged(&Judged{ID: w.reply.ID, Verdict: &w.verdict, Rule: rule, Input: &in})
	return nil
}

func (replayed) Flush() error { return nil }
