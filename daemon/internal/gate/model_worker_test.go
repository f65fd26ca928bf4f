package gate

import (
	"hash/fnv"

	"verdictd/internal/packet"
)

// mID is a packet's in the gate's queues: 0 for packets, 1 for announcements.
type mID struct {
	of int
	id uint32
}

type mDrop struct {
	key   packet.Key
	print uint32
}

// mMail is for a worker's next section: of epochs that are resolved or joined.
type mMail struct{ epoch, earlier uint64 }

// mWorker is a thread of the gate, with its table and its socket, somewhere
// between two system calls.
type mWorker struct {
	table   *Table
	ids     [2]uint32
	socket  []mID
	waiting map[mID]*mPacket // for a verdict
	flushed map[mID]*mPacket

	mail     []uint64 // resolved epochs
	joins    []mMail
	all      bool // that the socket held was read
	moved    int
	dark     bool // rules change, or have changed
	inDark   uint64
	try      bool
	drops    []mDrop
	believed []packet.Key
	refused  []Verdict

	epoch  uint64 // of the section; 0 between two
	stage  workerStage
	batch  []mID
	trip   mTrip
	q      [8]Question
	n      int
	known  []bool
	wakeAt int64

	// How packets came, and left though they were held, as far as Counters do not tell.
	unguarded, looseHeld uint64
}

type workerStage int

const (
	workerReceive workerStage = iota
	workerPackets
	workerVerdicts
	workerAsk
	workerAnswers
	workerEnd
)

// workerOf is the queue statement's choice: by a hash of the addresses that is the
// same in both directions.
func (m *model) workerOf(p *mPacket) int {
	a, b := p.tuple, reversed(p.tuple)
	if string(b[4:36]) < string(a[4:36]) {
		a = b
	}
	h := fnv.New32()
	h.Write(a[4:36])
	return int(h.Sum32() % uint32(len(m.workers)))
}

// work takes one step of a worker.
func (m *model) work(w *mWorker) {
	switch w.stage {
	case workerReceive:
		m.begin(w)
	case workerPackets:
		if len(w.batch) == 0 {
			if w.all {
				m.resolve(w)
			}
			w.stage = workerVerdicts
			return
		}
		id := w.batch[0]
		w.batch = w.batch[1:]
		m.judgePacket(w, id)
	case workerVerdicts:
		m.verdicts(w)
	case workerAsk:
		if m.opt.hasty {
			for i := range w.table.flows {
				w.table.flows[i].passed = 0
			}
		}
		if w.n = w.table.Questions(w.q[:]); w.n == 0 {
			m.endSection(w)
			return
		}
		w.known = w.known[:0]
		w.stage = workerAnswers
	case workerAnswers:
		m.answers(w)
	case workerEnd:
		w.inDark = w.table.Dark()
		w.epoch, w.stage = 0, workerReceive
	}
}

// begin starts a section, where there is anything to do.
func (m *model) begin(w *mWorker) {
	idle := len(w.socket) == 0 && len(w.mail)+len(w.joins)+len(w.drops)+len(w.refused)+len(w.believed)+w.moved == 0 && !w.dark && !w.try
	if idle && (w.wakeAt < 0 || m.now < w.wakeAt) {
		return
	}
	t := w.table
	w.epoch = m.epoch
	if m.opt.restless {
		t.running.ran += max(m.now-t.now-awayStep, 0)
	}
	t.Begin(m.now, w.epoch)
	t.ChainAdded(m.chainAdded)
	if w.dark {
		w.dark = false
		t.Darken(m.changing)
	}
	n := min(len(w.socket), m.batch)
	w.batch = append(w.batch[:0], w.socket[:n]...)
	w.socket = w.socket[n:]
	w.all = n == len(w.socket)+n
	for _, j := range w.joins {
		t.Join(j.epoch, j.earlier)
	}
	w.joins = nil
	t.Moved(w.moved)
	w.moved = 0
	for _, d := range w.drops {
		if m.opt.anyDrop {
			if i := t.find(&d.key); i != none && t.flows[i].pending {
				d.print = t.flows[i].firstPrint
				t.flows[i].several = false
			}
		}
		t.Dropped(&d.key, d.print)
	}
	for _, v := range w.refused {
		t.Refused(v.First, v.ID)
	}
	for _, k := range w.believed {
		if i := t.find(&k); i != none && t.flows[i].pending {
			t.due[t.flows[i].due].remove(t.dueLinks, i)
			t.Answer(i, true)
		}
	}
	w.drops, w.refused, w.believed = nil, nil, nil
	w.stage = workerPackets
}

// resolve tells the table what is resolved, once the socket was read empty: a first
// packet may be in it once more, as it was announced or came again.
func (m *model) resolve(w *mWorker) {
	for _, epoch := range w.mail {
		m.note(-1, "epoch %d is resolved", epoch)
		w.table.Resolve(epoch)
	}
	w.mail = nil
}

// judgePacket gives one packet of a batch to the table.
func (m *model) judgePacket(w *mWorker, id mID) {
	p := w.waiting[id]
	if p == nil {
		p = w.flushed[id] // its message is read all the same
	}
	before := w.table.Counters
	given := len(w.table.Verdicts)
	w.table.Packet(&Packet{Key: p.key, Turned: p.turned, Print: p.print, Bytes: 100, ID: id.id, Queue: uint16(id.of), Announced: id.of == 1})
	after := &w.table.Counters
	m.note(p.flow, "%v at the gate, epoch %d: first %d, passed %d, held %d, announced %d, again %d", p, w.table.epoch, after.First-before.First,
		after.Passed-before.Passed, after.Held-before.Held, after.Announced-before.Announced, after.Reentered-before.Reentered)
	if n := after.Unguarded - before.Unguarded; n > 0 {
		w.unguarded++
		w.looseHeld += n - 1
		m.loosen(w, given)
	}
	if after.Passed > before.Passed {
		p.trusted, p.trustedFrom = true, w.table.flows[w.table.find(&p.key)].knownUntil-trust
	}
	m.bounds(w)
}

// loosen marks those verdicts' packets that the gate let go unguarded.
func (m *model) loosen(w *mWorker, from int) {
	for _, v := range w.table.Verdicts[from:] {
		if p := w.waiting[mID{int(v.Queue), v.ID}]; p != nil {
			p.loose = true
		}
	}
}

func (m *model) bounds(w *mWorker) {
	t := w.table
	if t.Flows() > t.cfg.Flows || t.HeldBytes() > t.cfg.Bytes || t.held < 0 || t.bytes < 0 {
		m.fault("%d flows, %d packets, %d bytes", t.Flows(), t.Held(), t.HeldBytes())
	}
}

// verdicts gives one verdict, or takes its packet a step further.
func (m *model) verdicts(w *mWorker) {
	if w.trip.busy() {
		m.step(&w.trip)
		return
	}
	t := w.table
	if len(t.Verdicts) == 0 {
		w.stage = workerAsk
		return
	}
	v := t.Verdicts[0]
	t.Verdicts = append(t.Verdicts[:0], t.Verdicts[1:]...)
	if m.opt.forgets && v.First == none && m.IntN(50) == 0 {
		return
	}
	id := mID{int(v.Queue), v.ID}
	p := w.waiting[id]
	if p == nil {
		if w.flushed[id] == nil {
			m.fault("a verdict for packet %d, which does not wait", v.ID)
		}
		delete(w.flushed, id)
		w.refused = append(w.refused, v)
		return
	}
	delete(w.waiting, id)
	p.releasedAt = m.now
	m.goesOn(p)
	switch {
	case !v.Accept:
		m.end(p, &m.gateDropped)
	case v.Queue == 1:
		w.trip.start(p, stagePath, 0)
	case p.again:
		p.again, p.reentered = false, true
		m.toGate(p, false)
	default:
		w.trip.start(p, stageLookup, 0)
	}
}

// answers lets conntrack answer one question, or tells the answers.
func (m *model) answers(w *mWorker) {
	if i := len(w.known); i < w.n {
		w.known = append(w.known, m.known(w.q[i].Tuple, w.q[i].Zone))
		return
	}
	for i, known := range w.known {
		flow := w.q[i].Flow
		if !known && m.IntN(100) == 0 {
			w.table.Unanswered(flow)
			continue
		}
		m.note(-1, "answer for %x: %v; resolved: %v", w.q[i].Tuple, known, w.table.flows[flow].resolved)
		before, given := w.table.Counters.Gone, len(w.table.Verdicts)
		w.table.Answer(flow, known)
		for _, v := range w.table.Verdicts[given:] {
			if p := w.waiting[mID{int(v.Queue), v.ID}]; p != nil {
				p.trusted, p.trustedFrom = known, w.table.now
			}
		}
		if m.opt.two && w.table.Counters.Gone > before && w.table.flows[flow].head != none {
			h, _ := w.table.take(flow)
			w.table.accept(h.id, h.queue, none)
		}
	}
	w.stage = workerVerdicts
}

// endSection lists, and lets go what was held too long.
func (m *model) endSection(w *mWorker) {
	t := w.table
	for _, k := range t.Listed {
		if n := m.onWay[k.Tuple]; n > 0 {
			m.fault("flow %x is listed and has %d packets on their way", k.Tuple, n)
		}
		m.jobs = append(m.jobs, mJob{tuple: k.Tuple, decidedAt: m.now, at: m.now + m.Int64N(3_000_000)})
	}
	t.Listed = t.Listed[:0]
	before, given := t.Counters, len(t.Verdicts)
	clock := t.clock
	t.Expire(m.believed, m.believedAt)
	if t.clock != clock {
		m.note(-1, "time that counts: %d us, watcher at %d, %d epochs; queues %v", (t.clock-clock)/1000, m.watcher.stage, len(m.watcher.waits), m.waitings())
	}
	if w.try {
		t.Try()
		w.try = false
	}
	if n := t.Counters.Expired - before.Expired; n > 0 && !m.opt.patient {
		m.loosen(w, given)
	} else if n > 0 {
		m.fault("%d packets have expired: %+v", n, t.Counters)
	}
	t.Forget()
	w.wakeAt = -1
	if wait := t.Wait(); wait >= 0 {
		w.wakeAt = t.now + wait
	}
	if len(t.Verdicts) > 0 {
		w.stage = workerVerdicts
		return
	}
	w.stage = workerEnd
}

// counted compares a table's counters with each other and with what the model saw.
func (m *model) counted(w *mWorker) {
	c := &w.table.Counters
	arrived := c.First - c.Gone - c.Dark + c.Passed + c.Held + c.Announced + c.Reentered + w.unguarded
	left := c.Confirmed + c.Gone + c.Dark + c.Dropped + c.Expired + w.looseHeld + uint64(w.table.Held())
	if c.Received != arrived || c.Held != left || c.Expired != c.ExpiredHold+c.ExpiredLimit+c.ExpiredSecond ||
		c.Unguarded != c.UnguardedFlows+c.UnguardedPackets+c.UnguardedBytes || c.Unguarded != w.unguarded+w.looseHeld {
		m.fault("counters do not add up: %d came, %d counted, %d held, %d left: %+v", c.Received, arrived, c.Held, left, *c)
	}
}

// waitings are how many packets wait in each queue.
func (m *model) waitings() (list []uint32) {
	for _, q := range m.queues {
		list = append(list, q.waiting)
	}
	return list
}
