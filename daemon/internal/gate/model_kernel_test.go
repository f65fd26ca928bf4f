package gate

import (
	"verdictd/internal/packet"
)

// mPacket is a packet of the model, from its sender to its receiver.
type mPacket struct {
	flow, number int
	sender       int
	reply        bool
	tuple        packet.Key // its own direction
	key          packet.Key // of its flow, as the gate has it
	turned       bool
	print        uint32
	conn         *mConn
	backend      int
	path         []mStop

	checkedAt, gateAt, releasedAt int64 // the settled set, the gate's queue, the gate's verdict
	listed                        bool  // passed as one of a settled flow
	element                       *mElement
	announcedAt                   int64
	slipped                       bool // listed, but its element went before it came to the check
	checkDoneAt                   int64
	trusted                       bool // let go as conntrack was known to have its flow
	trustedFrom, lookedAt         int64
	reentered                     bool
	tainted                       bool // on its way together with one that it may clash with
	loose                         bool // unguarded or expired, as the gate counted
	onWay                         bool // the gate has let it go
	ungated                       bool // it came before the gate began
	again                         bool // comes to the gate again when it is released
	ended                         bool
}

// mConn is conntrack's entry: tuples of both directions with the zone, as
// lookups find them.
type mConn struct {
	orig, reply packet.Key
	confirmed   bool
	by          *mPacket
	backend     int
}

// mElement is one of the settled set.
type mElement struct {
	decidedAt, committedAt, expires int64
}

// mStop is a queue, or a rule that drops packets.
type mStop struct {
	queue *mQueue
	rule  bool
}

// mQueue is one of other programs.
type mQueue struct {
	number                  int
	sequence, waiting, lost uint32
	adding                  bool // somebody adds a packet: the queue's lock is taken
	socket                  []*mPacket
	room                    int // of the socket; 0: plenty
	maxLength               uint32
	failOpen                bool
	program                 *mProgram
}

// mTrip is a packet's way through the hooks within one system call: the sender's,
// or that of a verdict. Every step of it is one that others may come between.
type mTrip struct {
	p      *mPacket
	at     mStage
	stop   int
	number int // counts the trips of one thread
}

type mStage int

const (
	stageNone mStage = iota
	stageSet         // priority -250: is it settled?
	stageLookup
	stageCheck // priority -199: is what is listed confirmed?
	stageAnnounce
	stagePath
	stageAdded // in a queue
	stageConfirm
)

func (t *mTrip) busy() bool { return t.at != stageNone }

func (t *mTrip) start(p *mPacket, at mStage, stop int) {
	t.p, t.at, t.stop = p, at, stop
	t.number++
}

// land ends a trip.
func (t *mTrip) land() { t.p, t.at = nil, stageNone }

// step takes a packet one step further.
func (m *model) step(t *mTrip) {
	p := t.p
	m.note(p.flow, "%v: stage %d, stop %d", p, t.at, t.stop)
	switch t.at {
	case stageSet:
		p.checkedAt = m.now
		if e := m.set[p.tuple]; e != nil && e.expires > m.now {
			p.listed, p.element = true, e
			t.at = stageLookup
			return
		}
		if m.closed {
			p.ungated, t.at = true, stageLookup
			return
		}
		m.toGate(p, false)
		t.land()
	case stageLookup:
		m.lookup(p)
		t.at = stageCheck
	case stageCheck:
		m.check(t)
	case stageAnnounce:
		p.announcedAt, p.checkDoneAt = m.now, m.now
		m.toGate(p, true)
		t.land()
	case stagePath:
		m.advance(t)
	case stageAdded:
		q := p.path[t.stop].queue
		q.waiting++
		q.socket = append(q.socket, p)
		q.adding = false
		t.land()
	case stageConfirm:
		m.confirm(p)
		t.land()
	}
}

// toGate queues a packet to the gate.
func (m *model) toGate(p *mPacket, announced bool) {
	w := &m.workers[m.workerOf(p)]
	of := 0
	if announced {
		of = 1
	} else {
		p.gateAt = m.now
	}
	w.ids[of]++
	w.waiting[mID{of, w.ids[of]}] = p
	w.socket = append(w.socket, mID{of, w.ids[of]})
}

func (m *model) lookup(p *mPacket) {
	p.lookedAt = m.now
	m.looked(p)
	if c := m.entries[p.tuple]; c != nil {
		p.conn, p.backend = c, c.backend
		if m.opt.listsItself && p.key[1] == 17 {
			e := &mElement{decidedAt: p.gateAt, committedAt: -1, expires: m.now + m.opt.setTimeout()}
			m.set[p.tuple], m.set[reversed(p.tuple)] = e, e
		}
		return
	}
	if p.reply && m.flows[p.flow].icmp { // invalid, and goes on without an entry
		p.conn = &mConn{confirmed: true}
		return
	}
	c := &mConn{orig: p.tuple, by: p}
	c.reply, c.backend = m.flows[p.flow].replyTuple(p, m.IntN(2))
	p.conn, p.backend = c, c.backend
	m.taint(p)
}

// taint notes packets that are on their way without an entry together with another
// of their flow, where that is allowed: what becomes of them later is, too.
func (m *model) taint(p *mPacket) {
	all := m.underWay[p.flow]
	if all == nil {
		all = map[*mPacket]bool{}
		m.underWay[p.flow] = all
	}
	for o := range all {
		if !o.conn.confirmed && m.promised(p, o) != "" && !(p.ungated && o.ungated) {
			p.tainted, o.tainted = true, true
		}
	}
	all[p] = true
}

// check is at priority -199: what is listed is to be confirmed.
func (m *model) check(t *mTrip) {
	p := t.p
	e := m.set[p.tuple]
	p.checkDoneAt = m.now
	switch {
	case e == nil || e.expires <= m.now:
		p.slipped = p.listed && !p.conn.confirmed
	case p.conn.confirmed:
		if m.IntN(4) == 0 {
			e.expires = m.now + m.opt.setTimeout()
		}
	case m.opt.stale: // broken on purpose
	default:
		delete(m.set, p.tuple)
		delete(m.set, reversed(p.tuple))
		p.element = e
		t.at = stageAnnounce
		return
	}
	t.at = stagePath
}

// advance takes a packet to its next stop.
func (m *model) advance(t *mTrip) {
	p := t.p
	if m.IntN(m.slow) > 0 { // thousands of rules
		return
	}
	if t.stop >= len(p.path) {
		t.at = stageConfirm
		return
	}
	s := p.path[t.stop]
	if s.rule {
		t.stop++
		if m.rule(p) {
			m.end(p, &m.filtered)
			t.land()
		}
		return
	}
	q := s.queue
	switch {
	case q.adding:
	case q.waiting >= q.maxLength:
		m.end(p, &m.overflowed)
		t.land()
	case q.room > 0 && len(q.socket) >= q.room:
		q.sequence++
		q.lost++
		if q.failOpen {
			t.stop++
			return
		}
		m.end(p, &m.overflowed)
		t.land()
	default:
		q.sequence++
		q.adding = true
		t.at = stageAdded
	}
}

// rule drops single packets, and for some time a flow's all.
func (m *model) rule(p *mPacket) bool {
	return m.IntN(8) == 0 || (int(m.now/20_000_000)+p.flow)%3 == 0
}

// confirm is the end of a packet's way, where its entry goes into the table.
func (m *model) confirm(p *mPacket) {
	c := p.conn
	if !c.confirmed {
		other := m.entries[c.orig]
		if other == nil {
			other = m.entries[c.reply]
		}
		if other != nil {
			m.clash(p, other)
			p.backend = c.backend
		} else {
			c.confirmed = true
			m.entries[c.orig], m.entries[c.reply] = c, c
		}
	}
	f := &m.flows[p.flow]
	if f.nat != natNone && !p.reply {
		f.answers = true
	}
	m.arrived(p)
	m.end(p, &m.delivered)
}

// end counts a packet, once.
func (m *model) end(p *mPacket, counter *int) {
	if p.ended {
		m.fault("packet %d of flow %d ended twice", p.number, p.flow)
	}
	p.ended = true
	m.comesOff(p)
	delete(m.underWay[p.flow], p)
	*counter++
}

// known is conntrack's answer to a question.
func (m *model) known(tuple packet.Key, zone uint16) bool {
	FlowKeyZone(&tuple, zone)
	return m.entries[tuple] != nil
}

// flush is what deleting a base chain does: all queues of the namespace lose what
// waits in them.
func (m *model) flush() {
	for _, q := range m.queues {
		for _, p := range q.program.all() {
			m.end(p, &m.flushed)
		}
		q.program.flush()
		q.socket, q.waiting = nil, 0
	}
	for i := range m.workers {
		w := &m.workers[i]
		for id, p := range w.waiting {
			m.end(p, &m.flushed)
			delete(w.waiting, id)
			w.flushed[id] = p
		}
	}
}

// forget is conntrack -F, or -D of one flow.
func (m *model) forget(flow int) {
	m.note(flow, "conntrack forgets the flow")
	f := &m.flows[flow]
	for _, tuple := range f.tuples() {
		if c := m.entries[tuple]; c != nil {
			delete(m.entries, c.orig)
			delete(m.entries, c.reply)
		}
	}
	f.forgotten, f.answers = append(f.forgotten, m.now), false
}
