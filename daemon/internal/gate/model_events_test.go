package gate

import "slices"

// Where the gate begins while packets are on their way: steps of a run.
const (
	changeFrom = 2000 // the rules are about to change
	changeAt   = 2100 // from now on packets come to the gate
	changeTill = 2200 // the rules have changed
)

// begins has the gate begin, at one of a run's steps.
func (m *model) begins(step int) {
	if !m.opt.dark {
		return
	}
	switch step {
	case changeFrom, changeTill:
		m.changing = step == changeFrom
		for i := range m.workers {
			m.workers[i].dark = !m.opt.bright
		}
	case changeAt:
		m.closed = false
	}
}

// stop has the gate's process stand still for longer than packets may be held, between any two of its steps.
func (m *model) stop() {
	switch {
	case m.stopped > 0:
		m.stopped--
		m.now += m.Int64N(200_000_000)
	case m.opt.stops && m.IntN(1500) == 0:
		m.stopped = 600
	}
}

// darkIn reports whether an epoch ends in which packets were on their way of before
// the gate began.
func (m *model) darkIn(epoch uint64) bool {
	return slices.ContainsFunc(m.workers, func(w mWorker) bool { return w.inDark >= epoch })
}

// deviceGoes takes packets out of the middle of all queues: those of one sender.
func (m *model) deviceGoes() {
	sender := m.IntN(len(m.senders))
	m.devices++
	goes := func(p *mPacket) bool {
		if p.sender == sender {
			m.end(p, &m.flushed)
		}
		return p.sender == sender
	}
	for _, q := range m.queues {
		before := len(q.program.all())
		q.socket = slices.DeleteFunc(q.socket, goes)
		g := q.program
		for i := range g.threads {
			t := &g.threads[i]
			if t.p != nil && goes(t.p) {
				t.p = nil
			}
			t.next = slices.DeleteFunc(t.next, goes)
		}
		g.parked = slices.DeleteFunc(g.parked, func(p mParked) bool { return goes(p.mPacket) })
		q.waiting -= uint32(before - len(g.all()))
	}
	for i := range m.workers {
		w := &m.workers[i]
		for id, p := range w.waiting {
			if goes(p) {
				delete(w.waiting, id)
				w.flushed[id] = p
			}
		}
	}
}

// restarted has what was counted before a device went not count: the reading that
// was just taken is of after that, or another one follows.
func (m *model) restarted(w *mWatcher) {
	if m.opt.still || m.devices == w.devices {
		return
	}
	w.Restart(w.list)
	w.devices = w.devicesThen
}

// judges finds out what the programs do that packets of the gate wait for, as the
// runner does.
func (m *model) judges(w *mWatcher) {
	m.believed, m.believedAt = Past, m.now
	if !slices.ContainsFunc(m.workers, func(w mWorker) bool { return w.table.Held() > 0 }) {
		return
	}
	for _, n := range w.Blocking() {
		m.believed = max(m.believed, Waiting)
		switch {
		case !m.queues[n].program.wants():
		case m.opt.tries:
			m.workers[m.IntN(len(m.workers))].try = true
		default:
			m.believed = WantsSecond
		}
	}
	if m.opt.impatient && m.believed == Waiting {
		m.believed = Past
	}
}

// goesOn notes that a packet has left the gate, and comesOff that it has arrived.
func (m *model) goesOn(p *mPacket) {
	if !p.onWay {
		p.onWay = true
		m.onWay[p.key]++
	}
}

func (m *model) comesOff(p *mPacket) {
	if p.onWay {
		p.onWay = false
		m.onWay[p.key]--
	}
}

// pass lets time go by now and then. Where nothing may expire it is a program that
// takes it, and much of it: guard.hold is some times longer than what the gate, the
// kernel's barriers and packets between two queues need.
func (m *model) pass() {
	switch {
	case !m.opt.patient && m.IntN(1000) == 0,
		m.opt.patient && m.watcher.stage < watchBarrier && m.IntN(100) == 0 && slices.Max(m.waitings()) > 0:
		m.now += m.Int64N(12_000_000)
	}
}
