package gate

// mWatcher is the thread that finds out what is gone.
type mWatcher struct {
	Progress
	stage  watchStage
	next   uint64
	before []Reading
	list   []Reading // being read
	half   halfRead  // of the queue's numbers
	trips  []mSnapshot
	// Devices that had gone when a reading began, and those that are known.
	devicesThen, devices int
}

type mSnapshot struct {
	*mTrip
	number int
}

type watchStage int

const (
	watchIdle watchStage = iota
	watchBefore
	watchSections
	watchAfter
	watchJoined
	watchRead
	watchBarrier
	watchLanding
	watchLanded
)

type halfRead int

const (
	readNone halfRead = iota
	readSequence
	readWaiting
)

// reading takes a step of reading the counters of all queues, and reports whether
// it has them all. Others come between any two of them.
func (m *model) reading(w *mWatcher) bool {
	if w.half == readNone && len(w.list) == len(m.queues) {
		return true
	}
	if w.half == readNone {
		if len(w.list) == 0 {
			w.devicesThen = m.devices
		}
		q := m.queues[len(w.list)]
		r := Reading{Queue: uint16(q.number), Port: 1, InOrder: q.program.kind == inOrder || m.opt.allInOrder}
		if m.IntN(2) == 0 {
			r.Waiting, r.Lost, w.half = q.waiting, q.lost, readWaiting
		} else {
			r.Sequence, w.half = q.sequence, readSequence
		}
		w.list = append(w.list, r)
		return false
	}
	r := &w.list[len(w.list)-1]
	q := m.queues[len(w.list)-1]
	if w.half == readWaiting {
		r.Sequence = q.sequence
	} else {
		r.Waiting, r.Lost = q.waiting, q.lost
	}
	w.half = readNone
	if m.opt.lossless {
		r.Lost = 0
	}
	return len(w.list) == len(m.queues)
}

// watch takes one step of the watcher.
func (m *model) watch(w *mWatcher) {
	switch w.stage {
	case watchIdle:
		m.watchIdle(w)
	case watchBefore:
		if m.reading(w) {
			w.before, w.list = w.list, nil
			m.epoch = w.next
			w.stage = watchSections
		}
	case watchSections:
		for i := range m.workers {
			if e := m.workers[i].epoch; e != 0 && e < m.epoch && !m.opt.noSections {
				return
			}
		}
		w.stage = watchAfter
	case watchAfter:
		if m.reading(w) {
			if m.darkIn(m.ended) {
				w.Start(nil)
			}
			w.End(m.ended, w.before, w.list)
			m.ended = m.epoch
			w.list, w.stage = nil, watchJoined
		}
	case watchJoined: // nothing goes on before all know it
		for i := range m.workers {
			if len(m.workers[i].joins) > 0 {
				return
			}
		}
		w.stage = watchRead
	case watchRead:
		if m.reading(w) {
			m.watched(w)
		}
	case watchBarrier:
		w.BarrierBegins()
		w.trips = m.trips()
		w.stage = watchLanding
	case watchLanding:
		for _, s := range w.trips {
			if !m.opt.noBarrier && s.busy() && s.mTrip.number == s.number {
				return
			}
		}
		w.stage = watchLanded
	case watchLanded:
		if m.reading(w) {
			m.restarted(w)
			now := w.list
			w.list, w.stage = nil, watchIdle
			w.BarrierEnds(now, m.resolved)
		}
	}
}

func (m *model) watchIdle(w *mWatcher) {
	pending := false
	for i := range m.workers {
		pending = pending || m.workers[i].table.Pending()
	}
	if next, ok := w.Next(m.epoch); pending && ok {
		w.next, w.stage = next, watchBefore
	} else if w.Waits() > 0 {
		w.stage = watchRead
	}
}

// watched does what a reading asks for.
func (m *model) watched(w *mWatcher) {
	m.restarted(w)
	now := w.list
	w.list, w.stage = nil, watchIdle
	defer m.judges(w)
	if m.opt.emptyIsGone {
		for _, r := range now {
			if r.Waiting > 0 {
				return
			}
		}
		for i := range w.waits {
			m.resolved(w.waits[i].epoch)
		}
		w.waits = nil
		return
	}
	if w.Read(m.now, now) {
		w.stage = watchBarrier
	}
}

// trips are all that are under way.
func (m *model) trips() (list []mSnapshot) {
	add := func(t *mTrip) {
		if t.busy() {
			list = append(list, mSnapshot{t, t.number})
		}
	}
	for i := range m.senders {
		add(&m.senders[i].trip)
	}
	for i := range m.workers {
		add(&m.workers[i].trip)
	}
	for _, q := range m.queues {
		for i := range q.program.threads {
			add(&q.program.threads[i].trip)
		}
	}
	return list
}

// resolved tells all workers.
func (m *model) resolved(epoch uint64) {
	for i := range m.workers {
		m.workers[i].mail = append(m.workers[i].mail, epoch)
	}
}
