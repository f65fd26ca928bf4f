package engine

import (
	"cmp"
	"sync/atomic"

	"verdictd/daemon/internal/names/flows"
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
	verdict policy.Verdict // on the packet in view
	another policy.Verdict // while several are compared
	name    foundName      // that the verdict is due to
	rule    int            // that has decided, by its place in judge.rules
	key     packet.Key
	reply   nfq.Reply
	replied int    // replies since the last flush
	late    int    // those of them on packets that were held
	last    uint32 // id of the last packet that was judged, or is held
	held    held
	notes   notes
	// searched is what tables of names before the judge's have counted.
	searched    searched
	queueLength atomic.Uint32
	reading     reading
	thread      atomic.Int32 // that receives, as the kernel numbers it; 0: none yet
	// memory is of held.records; nil: there is none. Who changes the judge asks for it.
	memory    nfq.Memory
	remembers func(number uint16, wanted bool) (nfq.Memory, error)
	unix      func() int64 // time of day in seconds, where rules ask for it
	// answered is the id before which all packets have their verdicts, and those have
	// returned. Others read it.
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
	needs       policy.Needs
	more        bool         // needs something of a packet besides its headers and devices
	names       *flows.Table // nil: rules know no names
	longest     int64        // that a packet is held, in nanoseconds
	undecodable vocabulary.Action
	copied      int  // bytes of each packet; 0: nobody says
	truncates   bool // packets that are longer lack something
	marks       vocabulary.Marks
	generation  uint16
	analyst     *analyst // nil: no analysis
	// hits are how many packets each rule has decided on, the default behind them all,
	// and what becomes of undecodable packets last.
	hits  []uint64
	rules []statistics.Rule // what they are of
	sets  []string          // of the decider's hits
	notes []note            // of each of them
	// logDrops is how many dropped packets a second are kept for the log.
	logDrops int
	samples  Sampler
	holds    bool       // rules hold packets
	memory   nfq.Memory // of the worker
}

// newJudge makes worker i's. What was found out about flows stays where the bounds for it
// are as they were in the judge before, which may be nil.
func newJudge(j *Judgement, i int, before *judge) (*judge, error) {
	rules := j.rules()
	needs := j.Policy.Needs()
	copied := cmp.Or(j.CopyRange, vocabulary.MaxCopyRange)
	n := &judge{
		sets:    j.Policy.Sets(),
		decider: j.Policy.NewDecider(), needs: needs, undecodable: j.Undecodable, marks: j.Marks, generation: j.Generation, analyst: newAnalyst(j.Analysis, uint64(i)),
		hits: make([]uint64, len(rules)), rules: rules, notes: j.notes(len(rules)), logDrops: j.LogDrops, samples: j.Samples,
		longest: j.Flows.Pending.Age, holds: j.Holds, copied: int(copied), truncates: !j.CopyAuto || copied == vocabulary.MaxCopyRange,
	}
	n.more = needs.Conntrack || needs.ConnMark || needs.UIDGID
	if !needs.Names {
		return n, nil
	}
	if before != nil && before.names != nil && before.names.Has(&j.Flows) {
		n.names = before.names
		return n, nil
	}
	var err error
	n.names, err = flows.New(j.Flows)
	return n, err
}

// handle judges a batch, in the order in which the kernel queued it.
func (w *worker) handle(b *nfq.Batch) error {
	if j := w.next.Load(); j != w.judge {
		if err := w.change(j); err != nil {
			return err
		}
	}
	w.begin(b)
	for i := range b.Packets {
		p := &b.Packets[i]
		b.Judges(p)
		if p.Cut() {
			if len(p.Payload) < w.judge.copied {
				if err := w.queueAgain(p); err != nil {
					return err
				}
				continue
			}
			if w.judge.truncates {
				w.counters.Truncated++
			}
		}
		w.decide(p)
		analysed := w.analyse()
		if w.verdict.Hold && w.hold(p) {
			continue
		}
		if w.held.count > 0 {
			if err := w.settled(); err != nil {
				return err
			}
		}
		w.note(p)
		if err := w.answer(p); err != nil {
			return err
		}
		if analysed {
			// Whoever thinks long answers when it is done, not when the batch is.
			if err := w.flush(b, p); err != nil {
				return err
			}
		}
	}
	w.reading.note(b, w.queueLength.Load())
	if err := w.expire(); err != nil {
		return err
	}
	var err error
	if n := len(b.Packets); n > 0 {
		err = w.flush(b, &b.Packets[n-1])
	} else {
		err = w.send(b.Received)
	}
	if w.held.count > 0 {
		w.askNext()
	}
	return err
}

// change has the worker judge by something else from now on.
func (w *worker) change(j *judge) error {
	before := w.judge
	w.judge = j
	if before != nil && before.names != nil && before.names != j.names {
		// Nobody knows any more what is held of which flow.
		if err := w.release(anyFlow); err != nil {
			return err
		}
		w.searched.add(before.names)
	}
	if j.names != nil && j.holds {
		if w.held.records == nil && j.memory != nil {
			w.held.keepIn(j.memory)
		}
		w.held.prepare(j.names.Longest()+headersOfHeld, w.queueLength.Load())
	}
	return nil
}

// queueAgain has the kernel copy the packet once more, as much of it as the judge may look
// at, and puts it behind all that waits. That is what becomes of the few that another process
// has left, which judged by less, or that were on their way into the queue when the range was
// raised. What is copied by now never has less, so it ends.
func (w *worker) queueAgain(p *nfq.Packet) error {
	w.counters.CopiedAgain++
	w.reply = nfq.Reply{ID: p.ID, Queue: p.Queue, Verdict: nfq.Requeue(p.Queue), Again: p.Again}
	w.replied++
	w.late++
	return w.queue.Reply(&w.reply)
}

// begin prepares for a batch.
func (w *worker) begin(b *nfq.Batch) {
	w.input.View, w.input.Now = &w.view, b.Received
	w.reading.begin(b, w.hints != nil && w.held.count > 0)
	if w.judge.needs.Unix {
		w.input.Unix = w.unix()
	}
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

// flush returns the verdicts so far to the kernel, of which the last is on a packet, or
// that packet is held. It is noted before and after, for a process that takes over in
// between.
func (w *worker) flush(b *nfq.Batch, last *nfq.Packet) error {
	b.Answers(last)
	w.last = last.ID
	if err := w.send(b.Received); err != nil {
		return err
	}
	b.Answered(last)
	return nil
}

// send returns the verdicts so far to the kernel, on packets that were received at a time.
func (w *worker) send(received int64) error {
	if w.replied > 0 {
		if err := w.queue.Flush(); err != nil {
			return err
		}
		w.latency.Record(nfq.Now()-received, int64(w.replied-w.late))
		w.held.returned()
	}
	answered := w.last
	if w.held.count > 0 {
		answered = w.held.before(answered)
	}
	w.answered.Store(answered)
	if w.replied > 0 || len(w.drops) > 0 {
		w.returned(w.replied)
	}
	w.replied, w.late = 0, 0
	w.window.Turn()
	return nil
}
