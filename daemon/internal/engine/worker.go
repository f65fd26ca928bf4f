package engine

import (
	"sync/atomic"

	"verdictd/daemon/internal/policy"
	"verdictd/internal/nfq"
	"verdictd/internal/packet"
	"verdictd/internal/statistics"
	"verdictd/internal/vocabulary"
)

// worker owns one queue and everything that a packet meets on its way. All of
// it belongs to the thread that receives.
type worker struct {
	number  uint16
	retired bool
	ended   chan struct{}
	queue   nfq.Queue
	next    atomic.Pointer[judge] // of the next batch; others set it
	judge   *judge                // of this batch
	hints   Hints                 // nil: nobody listens
	drops   []drop                // since the last flush, for hints; a batch at most
	view    packet.View
	input   policy.Input
	verdict policy.Verdict
	key     packet.Key
	reply   nfq.Reply
	replied int // replies since the last flush
	rule    int // that has decided on the packet, by its place in judge.rules
	sampler sampler
	// answered is the id of the last packet whose verdict has returned, which are
	// given in the order of ids. Others read it.
	answered atomic.Uint32
	counters statistics.Verdicts
	latency  *statistics.Histogram

	// window is where others look at what the worker counts; counted is theirs.
	window  *statistics.Window
	counted counted
}

// judge is what a worker judges a batch by. Those who change it make another one for
// each worker.
type judge struct {
	decider     *policy.Decider
	undecodable vocabulary.Action
	analyst     *analyst // nil: no analysis
	// hits are how many packets each rule has decided on, the default behind them all,
	// and what becomes of undecodable packets last.
	hits  []uint64
	rules []statistics.Rule // what they are of
	// logDrops is how many dropped packets a second are kept for the log.
	logDrops int
}

// newJudge makes worker i's.
func newJudge(j *Judgement, i int) *judge {
	rules := j.rules()
	return &judge{
		decider: j.Policy.NewDecider(), undecodable: j.Undecodable, analyst: newAnalyst(j.Analysis, uint64(i)),
		hits: make([]uint64, len(rules)), rules: rules, logDrops: j.LogDrops,
	}
}

// handle judges a batch, in the order in which the kernel queued it.
func (w *worker) handle(b *nfq.Batch) error {
	w.judge = w.next.Load()
	for i := range b.Packets {
		p := &b.Packets[i]
		b.Judges(p)
		action := w.decide(p)
		analysed := w.analyse()
		if action == vocabulary.Drop && w.judge.logDrops > 0 {
			w.keep(p, b.Received)
		}
		if err := w.answer(p, action); err != nil {
			return err
		}
		if analysed {
			// Whoever thinks long answers when it is done, not when the batch is.
			if err := w.flush(b, p); err != nil {
				return err
			}
		}
	}
	if len(b.Packets) == 0 {
		return nil
	}
	return w.flush(b, &b.Packets[len(b.Packets)-1])
}

// decide judges a packet, which is in w.view then. The view is empty, without a
// version, where it could not be decoded.
func (w *worker) decide(p *nfq.Packet) vocabulary.Action {
	if p.CapLen > uint32(len(p.Payload)) {
		w.counters.Truncated++
	}
	if w.view.Decode(p.Payload) != nil {
		w.counters.Undecodable++
		w.rule = len(w.judge.hits) - 1
		w.judge.hits[w.rule]++
		return w.judge.undecodable
	}
	w.input = policy.Input{View: &w.view, Hook: p.Hook, Mark: p.Mark, InDev: p.InDev, OutDev: p.OutDev}
	w.judge.decider.Decide(&w.input, &w.verdict)
	w.rule = w.verdict.Rule
	w.judge.hits[w.rule]++
	return w.verdict.Action
}

// analyse spends the time that an analysis of the packet in w.view takes, and reports
// whether it took any.
func (w *worker) analyse() bool {
	if w.judge.analyst == nil || w.view.Version == 0 {
		return false
	}
	w.view.Key(&w.key)
	return w.judge.analyst.spend(&w.key)
}

// answer lays out the verdict on a packet.
func (w *worker) answer(p *nfq.Packet, action vocabulary.Action) error {
	verdict := nfq.Accept
	w.counters.Received++
	if action != vocabulary.Accept {
		verdict = nfq.Drop
		w.counters.Dropped++
		if w.view.Version != 0 {
			w.noteDrop()
		}
	} else {
		w.counters.Accepted++
	}
	w.replied++
	w.reply = nfq.Reply{ID: p.ID, Queue: p.Queue, Verdict: verdict, Again: p.Again}
	return w.queue.Reply(&w.reply)
}

// flush returns the verdicts so far to the kernel, of which the last is on a packet. It
// is noted before and after, for a process that takes over in between.
func (w *worker) flush(b *nfq.Batch, last *nfq.Packet) error {
	if w.replied == 0 {
		return nil
	}
	b.Answers(last)
	if err := w.queue.Flush(); err != nil {
		return err
	}
	b.Answered(last)
	w.latency.Record(nfq.Now()-b.Received, int64(w.replied))
	w.answered.Store(w.reply.ID)
	w.returned(w.replied)
	w.replied = 0
	w.window.Turn()
	return nil
}
