package engine

import (
	"time"
	"unsafe"

	"verdictd/internal/nfnl"
	"verdictd/internal/nfq"
	"verdictd/internal/packet"
	"verdictd/internal/vocabulary"
)

// held are packets that wait in the kernel, without a verdict, until the name of their
// flow is known. They are bounded in number, in length and in time.
type held struct {
	places  []heldPacket
	memory  []byte // of their bytes, so many each
	each    int
	order   []int32 // places of those that are held, by age
	count   int
	free    []int32
	gone    []int32  // places whose verdict has not returned
	records []Record // of each place, for a next process; nil: none could go on
	limit   int
}

// heldPacket is a packet that waits.
type heldPacket struct {
	packet nfq.Packet // its payload is a copy
	key    packet.Key
	print  uint32
	since  int64
}

// A Record tells a next process of a packet that waits in the kernel and is in no journal
// any more. It is changed by plain stores.
type Record struct {
	ID    uint32
	Queue uint16
	Used  bool // last to be set, first to be taken away
}

const (
	// maxHeld is how many packets a worker holds at most.
	maxHeld = 256
	// heldOf is the part of a queue's length that held packets may take, as the kernel
	// drops what finds the queue full.
	heldOf = 4
	// maxHeldOfFlow is how many packets of one flow are held.
	maxHeldOfFlow = 64
	// headersOfHeld is room for the headers before what is put together.
	headersOfHeld = 512
)

// HeldRecords is the length of the memory for Config.Held, in bytes.
const HeldRecords = maxHeld * int(unsafe.Sizeof(Record{}))

// anyFlow stands for all flows.
var anyFlow *packet.Key

// prepare makes room, before the first packet is held.
func (h *held) prepare(each int, queueLength uint32) {
	if each <= h.each || h.count > 0 {
		return
	}
	if queueLength == 0 {
		queueLength = vocabulary.DefaultQueueLength
	}
	h.limit = int(min(maxHeld, max(queueLength/heldOf, 1)))
	h.each = each
	h.places, h.memory = make([]heldPacket, h.limit), make([]byte, h.limit*each)
	h.order, h.free, h.gone = make([]int32, 0, h.limit), make([]int32, 0, h.limit), make([]int32, 0, h.limit)
	for i := h.limit - 1; i >= 0; i-- {
		h.free = append(h.free, int32(i))
	}
}

// keepIn has what is held noted in memory for a next process.
func (h *held) keepIn(m nfq.Memory) {
	h.records = unsafe.Slice((*Record)(unsafe.Pointer(unsafe.SliceData(m.Bytes()))), maxHeld)
}

// before is the id before that of the packet that is held longest, or last where none is
// held.
func (h *held) before(last uint32) uint32 {
	for _, at := range h.order {
		if id := h.places[at].packet.ID; int32(id-last) <= 0 {
			last = id - 1
		}
	}
	return last
}

// of counts what is held of a flow.
func (h *held) of(key *packet.Key) (n int) {
	for _, at := range h.order {
		if h.places[at].key == *key {
			n++
		}
	}
	return n
}

// hold keeps the packet in w.view for later, and reports whether there is room for it.
// Where there is none, the verdict is that of a name that was not found.
func (w *worker) hold(p *nfq.Packet) bool {
	h := &w.held
	w.view.Key(&w.key)
	if len(h.free) == 0 || len(p.Payload) > h.each || h.of(&w.key) >= maxHeldOfFlow {
		w.counters.HeldOver++
		w.decideWithoutName(p)
		return false
	}
	at := h.free[len(h.free)-1]
	h.free = h.free[:len(h.free)-1]
	place := &h.places[at]
	place.packet, place.key, place.print, place.since = *p, w.key, w.view.Fingerprint(), w.reading.now
	n := copy(h.memory[int(at)*h.each:(int(at)+1)*h.each], p.Payload)
	place.packet.Payload = h.memory[int(at)*h.each:][:n:n]
	h.order = append(h.order, at)
	h.count++
	if h.records != nil {
		r := &h.records[at]
		r.ID, r.Queue = p.ID, p.Queue
		r.Used = true
	}
	w.counters.Received++
	w.counters.Held++
	return true
}

// settled judges what is held of the flow of the packet in w.view, if the verdict on that
// one does not depend on a name that is still to come. They go on before it.
func (w *worker) settled() error {
	if w.verdict.Pending || w.view.Version == 0 {
		return nil
	}
	w.view.Key(&w.key)
	if w.held.of(&w.key) == 0 {
		return nil
	}
	view, verdict, rule, name, input := w.view, w.verdict, w.rule, w.name, w.input
	key := w.key
	err := w.judgeHeld(func(p *heldPacket) bool { return p.key == key }, false)
	w.view, w.verdict, w.rule, w.name, w.input = view, verdict, rule, name, input
	return err
}

// expire judges what has waited for too long: what it waited for had not come when all
// was read that had.
func (w *worker) expire() error {
	if w.judge.names != nil {
		w.judge.names.Expire(w.reading.past)
	}
	if w.held.count == 0 {
		return nil
	}
	until := w.reading.past - w.judge.longest
	return w.judgeHeld(func(p *heldPacket) bool { return p.since <= until }, true)
}

// release judges what is held of a flow, or of all, without waiting for names.
func (w *worker) release(key *packet.Key) error {
	return w.judgeHeld(func(p *heldPacket) bool { return key == anyFlow || p.key == *key }, true)
}

// judgeHeld judges packets that are chosen, in the order in which they came. Those that
// would still wait do so, unless the time for that is over.
func (w *worker) judgeHeld(which func(*heldPacket) bool, over bool) error {
	h := &w.held
	kept := h.order[:0]
	for _, at := range h.order {
		p := &h.places[at]
		if !which(p) {
			kept = append(kept, at)
			continue
		}
		w.decide(&p.packet)
		if w.verdict.Pending && !over {
			kept = append(kept, at)
			continue
		}
		if over {
			w.counters.HeldOver++
		}
		if w.verdict.Pending {
			w.decideWithoutName(&p.packet)
		}
		w.note(&p.packet)
		if err := w.answerHeld(&p.packet); err != nil {
			return err
		}
		w.late++
		h.count--
		h.gone = append(h.gone, at)
	}
	h.order = kept
	return nil
}

// returned frees the places of packets whose verdicts have returned. Only then need a next
// process not know of them.
func (h *held) returned() {
	for _, at := range h.gone {
		if h.records != nil {
			h.records[at].Used = false
		}
		h.free = append(h.free, at)
	}
	h.gone = h.gone[:0]
}

// askNext asks for the next packets of flows of which packets are held. The gate lets a
// flow's next packet go when the one before is through, or gone; here the next one is what
// that one waits for. Who is told twice of the same packet does nothing.
func (w *worker) askNext() {
	if w.hints == nil || !w.hints.Wanted() {
		return
	}
	for _, at := range w.held.order {
		p := &w.held.places[at]
		w.hints.Dropped(&p.key, p.print)
	}
}

// askAgain is how often that is done while the next packet may have come to the gate.
const askAgain = 5 * time.Millisecond

// wait is how long the worker may wait for packets.
func (w *worker) wait() time.Duration {
	if w.held.count == 0 {
		return nfnl.Forever
	}
	oldest := w.held.places[w.held.order[0]].since
	d := w.reading.left(oldest + w.judge.longest)
	if w.hints != nil {
		d = min(d, askAgain)
	}
	return d
}

// finish judges all that is held, for a worker that ends.
func (w *worker) finish() error {
	if w.held.count == 0 {
		return nil
	}
	w.input.Now = nfq.Now()
	if err := w.release(anyFlow); err != nil {
		return err
	}
	return w.send(w.input.Now)
}

// dropLeft drops what a process before this one has held. What was put together of its
// flows is gone with it, and who has sent it sends it again.
func (w *worker) dropLeft() error {
	q, takes := w.queue.(interface{ Waits(queue uint16) })
	for i := range w.held.records {
		r := &w.held.records[i]
		if !r.Used {
			continue
		}
		if takes && r.Queue == w.number { // anybody may have written there
			q.Waits(r.Queue)
			w.reply = nfq.Reply{ID: r.ID, Queue: r.Queue, Verdict: nfq.Drop, Again: true}
			if err := w.queue.Reply(&w.reply); err != nil {
				return err
			}
			w.counters.HeldLeft++
		}
	}
	if err := w.queue.Flush(); err != nil {
		return err
	}
	for i := range w.held.records {
		w.held.records[i].Used = false
	}
	return nil
}
