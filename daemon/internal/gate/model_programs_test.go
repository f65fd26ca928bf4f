package gate

import "slices"

// kind is how a program judges.
type kind int

const (
	inOrder     kind = iota // one thread, batches read first
	threaded                // several threads, out of order
	wantsSecond             // keeps a flow's packet until the next one of it comes
)

// mProgram reads one queue and gives verdicts.
type mProgram struct {
	q          *mQueue
	kind       kind
	own        bool // it tells the gate of its verdicts
	drops      bool
	threads    []mThread
	parked     []mParked
	standUntil int64
	think      int64 // longest time for a packet
	judged     int
}

type mThread struct {
	p     *mPacket
	ready int64
	trip  mTrip
	next  []*mPacket // judged already
}

type mParked struct {
	*mPacket
	until int64
	after int
}

// all are the packets that wait for a verdict.
func (g *mProgram) all() (list []*mPacket) {
	list = append(list, g.q.socket...)
	for i := range g.threads {
		if p := g.threads[i].p; p != nil {
			list = append(list, p)
		}
		list = append(list, g.threads[i].next...)
	}
	for _, p := range g.parked {
		list = append(list, p.mPacket)
	}
	return list
}

// flush forgets them: verdicts for them are refused.
func (g *mProgram) flush() {
	for i := range g.threads {
		g.threads[i].p, g.threads[i].next = nil, nil
	}
	g.parked = nil
}

// wants reports whether the program has read all there is and waits for more.
func (g *mProgram) wants() bool { return len(g.parked) > 0 && len(g.q.socket) == 0 }

// program takes one step of one of its threads.
func (m *model) program(g *mProgram) {
	t := &g.threads[m.IntN(len(g.threads))]
	if t.trip.busy() { // the verdict's system call goes on whatever happens to the program
		p := t.trip.p
		if m.step(&t.trip); !t.trip.busy() && g.own {
			m.returned(p)
		}
		return
	}
	if g.standUntil > m.now {
		return
	}
	if t.p == nil && len(t.next) > 0 {
		t.p, t.next, t.ready = t.next[0], t.next[1:], m.now
	}
	if t.p != nil {
		if m.now >= t.ready {
			m.judge(g, t)
		}
		return
	}
	for i, p := range g.parked {
		if m.now > p.until || g.judged > p.after+someLater/2 {
			g.parked = slices.Delete(g.parked, i, i+1)
			t.p, t.ready = p.mPacket, m.now
			return
		}
	}
	if len(g.q.socket) == 0 {
		return
	}
	p := g.q.socket[0]
	g.q.socket = g.q.socket[1:]
	if g.kind == wantsSecond {
		same := func(o mParked) bool { return o.key == p.key }
		i := slices.IndexFunc(g.parked, same)
		if i < 0 && m.IntN(2) == 0 {
			g.parked = append(g.parked, mParked{p, m.now + 30_000_000, g.judged})
			return
		}
		if i >= 0 {
			t.next = append(t.next, p)
			p = g.parked[i].mPacket
			g.parked = slices.Delete(g.parked, i, i+1)
		}
	}
	t.p, t.ready = p, m.now+m.Int64N(g.think)
	if m.IntN(20) == 0 {
		t.ready += 3_000_000
	}
}

// judge gives the verdict for what a thread has: the kernel takes the packet out
// of the queue first, and sends it on its way then.
func (m *model) judge(g *mProgram, t *mThread) {
	p := t.p
	t.p = nil
	g.judged++
	g.q.waiting--
	if g.drops && m.rule(p) {
		m.end(p, &m.filtered)
		if g.own {
			m.ownDrop(p)
		}
		return
	}
	stop := slices.IndexFunc(p.path, func(s mStop) bool { return s.queue == g.q })
	for i := stop + 1; i < len(p.path); i++ { // a queue that two hooks feed: the next time
		if p.path[i].queue == g.q && p.conn != nil && m.visited(p) {
			stop = i
			break
		}
	}
	t.trip.start(p, stagePath, stop+1)
}

// visited reports whether a packet has been in a queue of two visits before.
func (m *model) visited(p *mPacket) bool {
	if m.twice[p] {
		return true
	}
	m.twice[p] = true
	return false
}

// returned tells all workers that an own verdict has returned.
func (m *model) returned(p *mPacket) {
	for i := range m.workers {
		m.workers[i].moved++
	}
	if m.opt.believes {
		w := &m.workers[m.workerOf(p)]
		w.believed = append(w.believed, p.key)
	}
}

// ownDrop tells the worker of a flow that a packet of it was dropped.
func (m *model) ownDrop(p *mPacket) {
	w := &m.workers[m.workerOf(p)]
	w.drops = append(w.drops, mDrop{p.key, p.print})
}

// mSender is one processor's program that sends.
type mSender struct {
	trip mTrip
	next map[[2]int]int
}

// send takes one step of a sender.
func (m *model) send(i int, fresh bool) {
	s := &m.senders[i]
	if s.trip.busy() {
		m.step(&s.trip)
		return
	}
	if !fresh {
		return
	}
	flow := m.IntN(len(m.flows))
	if m.IntN(4) > 0 { // bursts: all senders on one flow
		flow = int(m.now/300_000) % len(m.flows)
	}
	if m.now < m.favoredTill {
		flow = m.favored
	}
	f := &m.flows[flow]
	p := &mPacket{flow: flow, sender: i, tuple: f.forward, path: f.path, print: m.Uint32()}
	if !m.opt.oneWay && m.IntN(3) == 0 {
		tuple, ok := m.replyOf(f)
		if !ok {
			return
		}
		p.reply, p.tuple, p.path = true, tuple, f.back
	}
	p.key = p.tuple
	zone := f.zone
	FlowKeyZone(&p.key, 0)
	if !m.opt.directional {
		p.turned = FlowKey(&p.key, zone)
	} else {
		FlowKeyZone(&p.key, zone)
	}
	direction := 2 * flow
	if p.reply {
		direction++
	}
	s.next[[2]int{i, direction}]++
	p.number = s.next[[2]int{i, direction}]
	m.sent++
	s.trip.start(p, stageSet, 0)
}
