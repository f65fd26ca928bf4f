package nfq

import (
	"slices"

	"golang.org/x/sys/unix"

	"verdictd/internal/nfnl"
)

// verdicts lays out replies one behind the other, until they are sent.
//
// Where it can, it says a run of them as one message. NFQNL_MSG_VERDICT_BATCH
// concerns every packet of a queue up to an id, so that is only right where each
// packet that was received of the queue is answered: one that is held, or was not
// understood, would be swept up with the others.
type verdicts struct {
	numbers []uint16 // of the queues
	enc     nfnl.Encoder
	// open counts the packets of each that were received and are not answered.
	open []int
	// unknown: a packet was received of which nobody knows the id, or not even the
	// queue. It stays open for ever.
	unknown bool
	// left is tagLeft while packets are answered that another process has left.
	left uint32

	// What is laid out, in runs of replies with the same verdict in the same queue.
	runs  []run
	short nfnl.Encoder // the runs as they are sent
	// passed is the highest id of each queue's runs that have ended, where some have. An
	// id before it is out of order: a message for a run that comes first would sweep up
	// its packet.
	passed     []uint32
	some       []bool
	outOfOrder []bool
}

// run is replies that one message can say, where no other packet of the queue has an id
// up to its highest.
type run struct {
	place   int // of its queue
	replies int
	plain   bool // nothing but verdict and mark
	verdict Verdict
	setMark bool
	mark    uint32
	// highest is the id that no other one of the run is after, and tag its reply's.
	highest, tag uint32
	begin        int // in what is laid out
}

func newVerdicts(numbers []uint16) verdicts {
	return verdicts{
		numbers: numbers, open: make([]int, len(numbers)),
		passed: make([]uint32, len(numbers)), some: make([]bool, len(numbers)), outOfOrder: make([]bool, len(numbers)),
	}
}

// place is a queue's in the lists; below 0 it has none.
func (v *verdicts) place(queue uint16) int { return slices.Index(v.numbers, queue) }

// received says that a packet of a queue waits for its reply; false: there is no such
// queue.
func (v *verdicts) received(queue uint16) bool {
	at := v.place(queue)
	if at < 0 {
		return false
	}
	v.open[at]++
	return true
}

// add lays out a reply that was found valid.
func (v *verdicts) add(r *Reply) error {
	at := v.place(r.Queue)
	if at < 0 {
		return ErrNoQueue
	}
	tag := r.Tag | v.left
	if r.Again {
		tag |= tagAgain
	}
	v.extend(at, r, tag)
	v.open[at]--

	e := &v.enc
	begin(e, typeVerdict, r.Queue, tag, r.Verdict, r.ID)
	if r.SetMark {
		e.Uint32(nfqaMark, r.Mark)
	}
	if r.SetConnMark {
		nest := e.BeginNested(nfqaCT)
		e.Uint32(ctaMark, r.ConnMark&r.ConnMarkMask)
		e.Uint32(ctaMarkMask, r.ConnMarkMask)
		e.EndNested(nest)
	}
	if r.Payload != nil {
		e.Raw(nfqaPayload, r.Payload)
	}
	e.End()
	return nil
}

// extend counts a reply to the last run, or begins one.
func (v *verdicts) extend(at int, r *Reply, tag uint32) {
	var last *run
	if n := len(v.runs); n > 0 {
		if last = &v.runs[n-1]; !last.continues(at, r) {
			v.pass(last)
			last = nil
		}
	}
	// As the kernel compares them (nfq_id_after), for ids begin again after 2^32.
	if v.some[at] && int32(r.ID-v.passed[at]) < 0 {
		v.outOfOrder[at] = true
	}
	if last == nil {
		v.runs = append(v.runs, run{
			place: at, replies: 1, plain: r.plain(), verdict: r.Verdict, setMark: r.SetMark, mark: r.Mark,
			highest: r.ID, tag: tag, begin: v.enc.Len(),
		})
		return
	}
	last.replies++
	if int32(r.ID-last.highest) > 0 {
		last.highest, last.tag = r.ID, tag
	}
}

func (r *run) continues(at int, reply *Reply) bool {
	return r.plain && reply.plain() && r.place == at && r.verdict == reply.Verdict &&
		r.setMark == reply.SetMark && (!r.setMark || r.mark == reply.Mark)
}

// pass remembers up to where a run that has ended went.
func (v *verdicts) pass(r *run) {
	if !v.some[r.place] || int32(r.highest-v.passed[r.place]) > 0 {
		v.some[r.place], v.passed[r.place] = true, r.highest
	}
}

// begin puts first what a refusal is known by when it comes back.
func begin(e *nfnl.Encoder, typ, queue uint16, tag uint32, verdict Verdict, id uint32) {
	e.Begin(typ, unix.AF_UNSPEC, queue)
	e.Seq(tag)
	e.Uint32Pair(nfqaVerdictHdr, uint32(verdict), id)
}

// take returns what is to be sent, which may be nothing; valid until the next add.
func (v *verdicts) take() []byte {
	b := v.enc.Bytes()
	if slices.ContainsFunc(v.runs, v.isOne) {
		b = v.shorten(b)
	}
	v.enc.Reset()
	v.runs = v.runs[:0]
	clear(v.some)
	clear(v.outOfOrder)
	return b
}

// isOne reports whether one message can say the run: every packet of its queue up to it
// is answered by it, or by what is before it.
func (v *verdicts) isOne(r run) bool {
	return r.replies > 1 && !v.unknown && v.open[r.place] == 0 && !v.outOfOrder[r.place]
}

// shorten says each run that allows it by one message, and the others as they are laid
// out.
func (v *verdicts) shorten(laid []byte) []byte {
	v.short.Reset()
	for i := range v.runs {
		r := &v.runs[i]
		if !v.isOne(*r) {
			end := len(laid)
			if i+1 < len(v.runs) {
				end = v.runs[i+1].begin
			}
			v.short.Append(laid[r.begin:end])
			continue
		}
		begin(&v.short, typeVerdictBatch, v.numbers[r.place], r.tag, r.verdict, r.highest)
		if r.setMark {
			v.short.Uint32(nfqaMark, r.mark)
		}
		v.short.End()
	}
	return v.short.Bytes()
}

// verdictID is the packet's in a verdict's attributes.
func verdictID(attrs nfnl.Attributes) (id uint32, ok bool) {
	typ, data, ok := attrs.Next()
	if !ok || typ != nfqaVerdictHdr || len(data) < 8 {
		return 0, false
	}
	return be32(data[4:]), true
}
