package engine

import (
	"verdictd/daemon/internal/names"
	"verdictd/daemon/internal/names/flows"
	"verdictd/daemon/internal/ring"
	"verdictd/internal/nfq"
	"verdictd/internal/packet"
	"verdictd/internal/vocabulary"
)

// Noted is a packet for who logs it: one that was dropped, or that a rule has logged.
type Noted struct {
	Queue  uint16
	Rule   string
	Action vocabulary.Action
	// ByRule: the rule says that it is logged, and Most is how many of it a second.
	ByRule bool
	Most   int
	// Key is the packet's flow; its version is 0 where the packet cannot be decoded.
	Key packet.Key
	// Bytes is the packet's length.
	Bytes uint32
	// InDev and OutDev are interface indices, 0 where it has none.
	InDev, OutDev uint32
	// State and Protocol are of the flow's name, which Name has; unset where rules know no
	// names.
	State    names.State
	Protocol flows.Protocol
	name     [names.MaxHost]byte
	length   int
	// More were not kept by the same worker, since the last one that was: dropped ones, or
	// those of the rule.
	More uint64
}

// Name is the flow's, or the question's; empty where none is known.
func (n *Noted) Name() string { return string(n.name[:n.length]) }

// Sampler takes packets that rules take samples of, from all workers. It neither blocks
// nor allocates.
type Sampler interface {
	Sample(rule string, action vocabulary.Action, p *nfq.Packet)
}

// notedKept are the most that wait to be logged.
const notedKept = 1 << 10

// second is the time in which so many are kept, in nanoseconds.
const second = 1e9

// rate keeps so many a second at most.
type rate struct {
	began int64 // of the second
	kept  int   // in it
	more  uint64
}

// takes reports whether there is room for one more.
func (r *rate) takes(now int64, most int) bool {
	if now-r.began >= second {
		r.began, r.kept = now, 0
	}
	return r.kept < most
}

// note is what is kept of a rule's packets.
type note struct {
	log, sample   int
	logged, taken rate
}

// notes are of a worker.
type notes struct {
	to    *ring.Ring[Noted]
	drops rate
}

// note keeps what is to be known of the packet in w.view.
func (w *worker) note(p *nfq.Packet) {
	j := w.judge
	if j.notes != nil && w.noteRule(p, w.rule, w.verdict.Action, w.name.result()) {
		return
	}
	if a := w.verdict.Action; j.logDrops > 0 && (a == vocabulary.Drop || a == vocabulary.Reject) {
		w.keep(p, Noted{Action: a}, w.rule, &w.notes.drops, j.logDrops, w.name.result())
	}
}

// noteRule keeps a packet for the log or the samples of a rule, and reports whether it has
// a log of its own.
func (w *worker) noteRule(p *nfq.Packet, rule int, action vocabulary.Action, name flows.Result) bool {
	n := &w.judge.notes[rule]
	if n.sample > 0 && w.judge.samples != nil && n.taken.takes(w.input.Now, n.sample) {
		n.taken.kept++
		w.judge.samples.Sample(w.judge.rules[rule].Name, action, p)
	}
	if n.log > 0 {
		w.keep(p, Noted{Action: action, ByRule: true, Most: n.log}, rule, &n.logged, n.log, name)
	}
	return n.log > 0
}

// keep hands a packet to who logs, at a rate.
func (w *worker) keep(p *nfq.Packet, d Noted, rule int, r *rate, most int, name flows.Result) {
	if !r.takes(w.input.Now, most) {
		r.more++
		return
	}
	d.Queue, d.Rule, d.Bytes = p.Queue, w.judge.rules[rule].Name, uint32(p.Length())
	d.InDev, d.OutDev, d.More = p.InDev, p.OutDev, r.more
	if w.view.Version != 0 {
		w.view.Key(&d.Key)
		if w.judge.names != nil {
			d.State, d.Protocol, d.length = name.State, name.Protocol, copy(d.name[:], name.Name)
		}
	}
	if !w.notes.to.Push(d) {
		r.more++
		return
	}
	r.kept, r.more = r.kept+1, 0
}

// Noted takes a packet that is to be logged; false: there is none. For one goroutine.
func (e *Engine) Noted() (d Noted, ok bool) { return e.noted.Pop() }
