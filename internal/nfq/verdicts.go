package nfq

import (
	"slices"

	"golang.org/x/sys/unix"

	"verdictd/internal/nfnl"
)

// verdicts keeps replies until they are sent.
//
// Where it can, it says a run of them as one message. NFQNL_MSG_VERDICT_BATCH
// concerns every packet of a queue up to an id, so that is only right where each
// packet that was received of the queue is answered: one that is held, or was not
// understood, would be swept up with the others.
type verdicts struct {
	numbers []uint16 // of the queues
	// open counts the packets of each that were received and are not answered.
	open []int
	// unknown: a packet was received of which nobody knows the id, or not even the
	// queue. It stays open for ever.
	unknown bool
	// left is tagLeft while packets are answered that another process has left.
	left uint32
	// most is how many replies one send has at most.
	most int

	// runs are replies with the same verdict in the same queue; said of them were sent.
	runs []run
	said int
	// plain are the replies of plain runs, which one message may say. The others are laid out.
	plain []answer
	laid  nfnl.Encoder
	out   nfnl.Encoder // as it is sent
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
	begin        int // among the plain ones, or in what is laid out
}

// answer is what differs between the replies of a plain run.
type answer struct{ id, tag uint32 }

// sendMost is how many packets one send carries on at most. Each runs through the hooks behind the queue in it, and the
// garbage collector waits meanwhile (nfnl.Socket.Send).
const sendMost = 64

func newVerdicts(numbers []uint16) verdicts {
	return verdicts{
		numbers: numbers, open: make([]int, len(numbers)), most: sendMost,
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

// add keeps a reply that was found valid.
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
	if r.plain() {
		v.plain = append(v.plain, answer{r.ID, tag})
		return nil
	}

	e := &v.laid
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
		if last = &v.runs[n-1]; !last.continues(at, r) || last.replies >= v.most {
			v.pass(last)
			last = nil
		}
	}
	// As the kernel compares them (nfq_id_after), for ids begin again after 2^32.
	if v.some[at] && int32(r.ID-v.passed[at]) < 0 {
		v.outOfOrder[at] = true
	}
	if last == nil {
		begin := len(v.plain)
		if !r.plain() {
			begin = v.laid.Len()
		}
		v.runs = append(v.runs, run{
			place: at, replies: 1, plain: r.plain(), verdict: r.Verdict, setMark: r.SetMark, mark: r.Mark,
			highest: r.ID, tag: tag, begin: begin,
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

// plainLen is the length in bytes of the message of a plain reply with a mark.
const plainLen = nfnl.HeaderLen + unix.SizeofNlAttr + 8 + unix.SizeofNlAttr + 4

// length is that of all messages in bytes, or more.
func (v *verdicts) length() int { return v.laid.Len() + plainLen*len(v.plain) }

// empty reports whether nothing is left to be sent.
func (v *verdicts) empty() bool { return len(v.runs) == 0 }

// take returns what one send has, valid until the next call.
func (v *verdicts) take() []byte {
	v.out.Reset()
	for replies := 0; v.said < len(v.runs); v.said++ {
		r := &v.runs[v.said]
		if replies += r.replies; replies > max(v.most, r.replies) {
			return v.out.Bytes()
		}
		v.say(r)
	}
	v.runs, v.said, v.plain = v.runs[:0], 0, v.plain[:0]
	v.laid.Reset()
	clear(v.some)
	clear(v.outOfOrder)
	return v.out.Bytes()
}

// say adds a run to what is sent: as one message where every packet of its queue up to it
// is answered by it, or by what is before it.
func (v *verdicts) say(r *run) {
	switch {
	case !r.plain:
		end := v.laid.Len()
		for _, next := range v.runs[v.said+1:] {
			if !next.plain {
				end = next.begin
				break
			}
		}
		v.out.Append(v.laid.Bytes()[r.begin:end])
	case r.replies > 1 && !v.unknown && v.open[r.place] == 0 && !v.outOfOrder[r.place]:
		v.sayPlain(r, typeVerdictBatch, answer{r.highest, r.tag})
	default:
		for _, a := range v.plain[r.begin:][:r.replies] {
			v.sayPlain(r, typeVerdict, a)
		}
	}
}

func (v *verdicts) sayPlain(r *run, typ uint16, a answer) {
	begin(&v.out, typ, v.numbers[r.place], a.tag, r.verdict, a.id)
	if r.setMark {
		v.out.Uint32(nfqaMark, r.mark)
	}
	v.out.End()
}

// verdictID is the packet's in a verdict's attributes.
func verdictID(attrs nfnl.Attributes) (id uint32, ok bool) {
	typ, data, ok := attrs.Next()
	if !ok || typ != nfqaVerdictHdr || len(data) < 8 {
		return 0, false
	}
	return be32(data[4:]), true
}
