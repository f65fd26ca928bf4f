package gate

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"verdictd/internal/packet"
)

// model is the kernel, the gate, its runner and the programs of others in one
// thread and virtual time, for one seed. Every step of every actor may come
// between any two of another.
//
// It is a model of conntrack as nf_conntrack_core.c has it: a lookup that finds no
// confirmed entry makes an unconfirmed one for that packet alone; the confirm of an
// unconfirmed entry that has a tuple of a confirmed one is a clash.
type model struct {
	*rand.Rand
	opt     modelOptions
	now     int64
	flows   []mFlow
	entries map[packet.Key]*mConn // confirmed ones, by both tuples
	queues  []*mQueue
	twice   map[*mPacket]bool
	// underWay are, by flow, packets that had no confirmed entry when they were looked up.
	underWay map[int]map[*mPacket]bool
	senders  []mSender

	speed [4]int // of senders, workers, programs, the watcher
	slow  int
	batch int // what a worker receives at most

	workers      []mWorker
	watcher      mWatcher
	epoch, ended uint64
	chainAdded   int64
	believed     Judge
	believedAt   int64
	closed       bool // no packet comes to the gate yet
	changing     bool // rules are
	devices      int  // that went
	stopped      int  // steps for which the gate's process stands still
	onWay        map[packet.Key]int
	favored      int // the flow that all send, for a while
	favoredTill  int64
	set          map[packet.Key]*mElement
	jobs         []mJob
	last         map[mOrder]*mPacket // looked up
	lastArrived  map[mOrder]*mPacket

	sent, delivered, filtered, overflowed, flushed, gateDropped int
	clashes, excused, reordered, overtaken                      int
	why                                                         map[string]int
	faults                                                      []string
}

// mOrder is what keeps its order: what one sender sends with one tuple.
type mOrder struct {
	sender int
	tuple  packet.Key
}

// mJob is a flow on its way into the settled set.
type mJob struct {
	tuple         packet.Key
	decidedAt, at int64
}

func (o *modelOptions) setTimeout() int64 { return int64(30 * time.Millisecond) }

func newModel(o modelOptions) *model {
	m := &model{
		Rand: rand.New(rand.NewPCG(o.seed, 1)), opt: o, now: int64(time.Second), epoch: 1, ended: 1,
		entries: map[packet.Key]*mConn{}, set: map[packet.Key]*mElement{},
		last: map[mOrder]*mPacket{}, lastArrived: map[mOrder]*mPacket{}, twice: map[*mPacket]bool{}, underWay: map[int]map[*mPacket]bool{}, why: map[string]int{},
		chainAdded: -1 << 62, closed: o.dark, onWay: map[packet.Key]int{},
	}
	for i, s := range o.queues {
		q := &mQueue{number: i, maxLength: 1024, room: s.room, failOpen: s.failOpen}
		if s.maxLength > 0 {
			q.maxLength = uint32(s.maxLength)
		}
		think := int64(300_000)
		if s.think > 0 {
			think = int64(s.think)
		}
		threads := 1
		if s.kind == threaded {
			threads = 3
		}
		q.program = &mProgram{q: q, kind: s.kind, own: s.own, drops: s.drops, threads: make([]mThread, threads), think: think}
		m.queues = append(m.queues, q)
	}
	for i := range max(o.flows, 12) {
		f := newFlow(i, &o)
		f.path, f.back = m.pathOf(i), m.pathOf(i)
		m.flows = append(m.flows, f)
	}
	for range 3 {
		m.senders = append(m.senders, mSender{next: map[[2]int]int{}})
	}
	for range max(o.workers, 1) {
		m.workers = append(m.workers, mWorker{table: m.newTable(), waiting: map[mID]*mPacket{}, flushed: map[mID]*mPacket{}, wakeAt: -1})
	}
	m.watcher.Rounds = o.rounds
	m.pace()
	m.watcher.Joined = func(epoch, earlier uint64) {
		for i := range m.workers {
			m.workers[i].joins = append(m.workers[i].joins, mMail{epoch, earlier})
		}
	}
	start := make([]Reading, 0, len(m.queues))
	for _, q := range m.queues {
		start = append(start, Reading{Queue: uint16(q.number), Port: 1, InOrder: q.program.kind == inOrder})
	}
	m.watcher.Start(start)
	return m
}

func (m *model) newTable() *Table {
	o := &m.opt
	cfg := Default()
	cfg.Drop, cfg.List = o.drop, o.list
	cfg.Flows = 64
	if o.table > 0 {
		cfg.Flows = o.table
	}
	if o.flowPackets > 0 {
		cfg.FlowPackets = o.flowPackets
	}
	cfg.Bytes = 1 << 20
	if o.bytes > 0 {
		cfg.Bytes = int64(o.bytes)
	}
	if o.hold > 0 {
		cfg.Hold, cfg.HoldLimit = o.hold, 20*o.hold
	}
	t, err := New(cfg)
	if err != nil {
		panic(err)
	}
	t.listAfter = 4 // flows of the model are short
	return t
}

// pathOf is what a flow's packets meet behind the lookup.
func (m *model) pathOf(flow int) (path []mStop) {
	if m.opt.rules {
		path = append(path, mStop{rule: true})
	}
	for i, q := range m.queues {
		if m.opt.parallel && i != flow%len(m.queues) {
			continue
		}
		path = append(path, mStop{queue: q})
		if m.opt.twice {
			path = append(path, mStop{queue: q})
		}
		if m.opt.rules {
			path = append(path, mStop{rule: true})
		}
	}
	return path
}

// run takes n steps, then lets everything arrive.
func (m *model) run(n int) {
	quiet := 0 // how many sender's steps of 64 do nothing
	for i := range n {
		if i%400 == 0 {
			quiet = m.IntN(64)
			if m.opt.list && i%4000 >= 1200 { // a pause, in which flows come to be listed
				quiet = 64
			}
			m.pace()
		}
		m.now += m.Int64N(10_000)
		m.stop()
		m.pass()
		m.act(m.IntN(64) >= quiet || m.now < m.favoredTill)
		m.chaos()
		m.begins(i)
	}
	m.drain()
}

// pace draws how fast the actors are, and how long packets are between two stops.
func (m *model) pace() {
	m.speed = [4]int{1 + m.IntN(3), 1 + m.IntN(4), 1 + m.IntN(3), 1 + m.IntN(3)}
	m.batch, m.slow = 1+m.IntN(8), 1
	if m.IntN(3) == 0 {
		m.slow = 1 + m.IntN(40)
	}
}

// actor draws one.
func (m *model) actor() (i int) {
	n := m.IntN(m.speed[0] + m.speed[1] + m.speed[2] + m.speed[3])
	for n >= m.speed[i] {
		n -= m.speed[i]
		i++
	}
	return i
}

// act takes one step of some actor.
func (m *model) act(fresh bool) {
	switch actor := m.actor(); {
	case m.stopped > 0 && (actor == 1 || actor == 3):
	case actor == 0:
		m.send(m.IntN(len(m.senders)), fresh)
	case actor == 1:
		m.work(&m.workers[m.IntN(len(m.workers))])
	case actor == 2:
		if len(m.queues) > 0 {
			m.program(m.queues[m.IntN(len(m.queues))].program)
		}
	default:
		m.watch(&m.watcher)
	}
	if len(m.jobs) > 0 && m.jobs[0].at <= m.now {
		j := m.jobs[0]
		m.jobs = m.jobs[1:]
		e := &mElement{decidedAt: j.decidedAt, committedAt: m.now, expires: m.now + m.opt.setTimeout()}
		m.set[j.tuple], m.set[reversed(j.tuple)] = e, e
		m.forgetListed(j.tuple)
	}
}

// forgetListed has conntrack forget flows that were listed just now, which then send
// again: few are listed, as they have to pause for it.
func (m *model) forgetListed(tuple packet.Key) {
	if !m.opt.forget || m.IntN(3) == 0 {
		return
	}
	for i := range m.flows {
		if slices.Contains(m.flows[i].tuples(), tuple) {
			m.forget(i)
			m.favored, m.favoredTill = i, m.now+1_000_000
		}
	}
}

// chaos is what administrators and programs do now and then.
func (m *model) chaos() {
	o := &m.opt
	if o.forget && m.IntN(1500) == 0 {
		m.forget(m.IntN(len(m.flows)))
	}
	if o.flush && m.IntN(3000) == 0 {
		m.flush()
	}
	if o.devices && m.IntN(1000) == 0 {
		m.deviceGoes()
	}
	if o.reenter && m.IntN(600) == 0 {
		m.chainAdded = m.now
		for i := range m.workers {
			for _, p := range m.workers[i].waiting {
				p.again = p.announcedAt == 0
			}
		}
	}
	for i, s := range o.queues {
		if g := m.queues[i].program; s.stands > 0 && g.standUntil <= m.now && m.IntN(2000) == 0 {
			g.standUntil = m.now + m.Int64N(int64(s.stands))
		}
	}
}

// drain lets the gate and the programs finish.
func (m *model) drain() {
	m.stopped = 0
	for i := range m.queues {
		m.queues[i].program.standUntil, m.queues[i].program.think = 0, 300_000
	}
	for n := 0; m.busy(); n++ {
		if n%1000 == 0 {
			m.pace()
			m.slow = 1
		}
		if n > 400_000 {
			m.fault("something is held for ever")
			break
		}
		if m.now += 10_000; m.opt.patient {
			m.now -= 8_000 // nothing takes longer than the programs
		}
		for i := range m.senders {
			m.send(i, false)
		}
		m.act(false)
	}
	for i := range m.workers {
		m.counted(&m.workers[i])
	}
	if sum := m.delivered + m.filtered + m.overflowed + m.flushed + m.gateDropped; sum != m.sent {
		m.fault("%d packets were sent, %d arrived, were dropped or flushed", m.sent, sum)
	}
}

func (m *model) busy() bool {
	if len(m.trips()) > 0 {
		return true
	}
	for _, q := range m.queues {
		if q.waiting > 0 || len(q.socket) > 0 {
			return true
		}
	}
	for i := range m.workers {
		w := &m.workers[i]
		if len(w.socket)+len(w.batch)+len(w.table.Verdicts)+len(w.refused) > 0 || w.table.Held() > 0 || w.stage != workerReceive {
			return true
		}
	}
	return false
}

func (m *model) fault(format string, v ...any) {
	if len(m.faults) < 10 {
		m.faults = append(m.faults, fmt.Sprintf("%.6f s: ", float64(m.now)/1e9)+fmt.Sprintf(format, v...))
	}
}
