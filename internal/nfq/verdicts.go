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

	// What is laid out: how many replies, and whether all are plain ones with the
	// same verdict and mark in the same queue.
	pending int
	uniform bool
	verdict Verdict
	queue   uint16
	setMark bool
	mark    uint32
	// highest is the id that no other one of the run is after, and tag its reply's.
	highest, tag uint32
}

func newVerdicts(numbers []uint16) verdicts {
	return verdicts{numbers: numbers, open: make([]int, len(numbers))}
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
	if v.pending == 0 {
		v.uniform, v.verdict, v.queue, v.highest, v.tag = true, r.Verdict, r.Queue, r.ID, tag
		v.setMark, v.mark = r.SetMark, r.Mark
	}
	v.uniform = v.uniform && r.plain() && r.Verdict == v.verdict && r.Queue == v.queue && r.SetMark == v.setMark && r.Mark == v.mark
	// As the kernel compares them (nfq_id_after), for ids begin again after 2^32.
	if int32(r.ID-v.highest) > 0 {
		v.highest, v.tag = r.ID, tag
	}
	v.pending++
	v.open[at]--

	e := &v.enc
	v.begin(typeVerdict, r.Queue, tag, r.Verdict, r.ID)
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

// begin puts first what a refusal is known by when it comes back.
func (v *verdicts) begin(typ, queue uint16, tag uint32, verdict Verdict, id uint32) {
	v.enc.Begin(typ, unix.AF_UNSPEC, queue)
	v.enc.Seq(tag)
	v.enc.Uint32Pair(nfqaVerdictHdr, uint32(verdict), id)
}

// take returns what is to be sent, which may be nothing; valid until the next add.
func (v *verdicts) take() []byte {
	if v.pending > 1 && v.uniform && !v.unknown && v.open[v.place(v.queue)] == 0 {
		v.enc.Reset()
		v.begin(typeVerdictBatch, v.queue, v.tag, v.verdict, v.highest)
		if v.setMark {
			v.enc.Uint32(nfqaMark, v.mark)
		}
		v.enc.End()
	}
	b := v.enc.Bytes()
	v.enc.Reset()
	v.pending = 0
	return b
}

// verdictID is the packet's in a verdict's attributes.
func verdictID(attrs nfnl.Attributes) (id uint32, ok bool) {
	typ, data, ok := attrs.Next()
	if !ok || typ != nfqaVerdictHdr || len(data) < 8 {
		return 0, false
	}
	return be32(data[4:]), true
}
