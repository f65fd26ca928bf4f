package flow

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"verdictd/internal/packet"
)

// model is the kernel and the daemon in one thread and virtual time, for one
// seed: senders whose packets are looked up by conntrack, travel to a queue and
// wait there; workers that judge as package engine does; verdicts that confirm
// entries. Every step of every actor may come between any two of another.
//
// It is a model of conntrack as nf_conntrack_core.c has it: a lookup that finds
// no confirmed entry makes an unconfirmed one for that packet alone; the confirm
// of an unconfirmed entry whose flow has a confirmed one is a clash.
type model struct {
	*rand.Rand
	opt       modelOptions
	table     *Table
	now       int64
	confirmed []bool // by flow: an entry is in conntrack's table
	senders   []sender
	workers   []modelWorker

	sent, delivered, clashes, filtered, reordered int
	decisions                                     [Foreign + 1]int
	last                                          map[[2]int]int // by sender and flow: number of the last packet delivered
	next                                          map[[2]int]int
}

type modelOptions struct {
	seed   uint64
	queues int
	spread bool // packets of one flow take any queue, as numgen and cpu-fanout do
	exact  bool // packets show whether their entry is confirmed (their queue, or NFQA_CT)
	partly bool // only some of them do: rules of others feed the queue too
	later  bool // a rule behind the queue drops some packets
	detour bool // copies do not meet that rule, as at INPUT and FORWARD
	flows  int  // in the guard's table; 0: plenty

	// Broken guards, to see that the model catches them.
	confirmEarly bool // calls Confirmed before the verdicts have returned
	noGrace      bool // the table's grace is shorter than packets travel
	forget       bool // a flow's identity is lost now and then
	blind        bool // does not care whether the socket was seen empty
	noProof      bool // takes the first packet's verdict for the confirm
	inverted     bool // rules send packets to the queues of the opposite state
	misled       bool // rules send some unconfirmed packets to the queue of confirmed ones
}

const (
	modelTravel = 1000 // longest time from lookup to queue
	modelGrace  = modelTravel + 100
	modelIdle   = 20 * modelGrace
)

type modelPacket struct {
	flow, sender, number int
	unconfirmed          bool // carries an entry of its own
}

type sender struct {
	travelling bool
	packet     modelPacket
	queue      int
	arrives    int64
}

// modelWorker is one queue with its socket and its thread, which is somewhere
// between two system calls.
type modelWorker struct {
	q       *Queue
	socket  []modelPacket
	waiting bool
	empty   int64
	batch   []modelPacket
	stamp   int64 // when the batch was received
	pass    []modelPacket
	held    []modelHeld
	stage   int
}

type modelHeld struct {
	modelPacket
	id ID
}

const (
	stageReceive = iota
	stageJudge
	stageVerdicts
	stageResend
)

func newModel(o modelOptions) *model {
	grace := int64(modelGrace)
	if o.noGrace {
		grace = 1
	}
	room := o.flows
	if room == 0 {
		room = 1024
	}
	table, err := NewTable(Config{Queues: o.queues, Flows: room, Grace: time.Duration(grace), Idle: modelIdle, Drop: o.noProof})
	if err != nil {
		panic(err)
	}
	const flows = 12
	m := &model{
		Rand: rand.New(rand.NewPCG(o.seed, 1)), opt: o, table: table, now: 1,
		confirmed: make([]bool, flows), senders: make([]sender, 3),
		last: map[[2]int]int{}, next: map[[2]int]int{},
	}
	for i := range o.queues {
		m.workers = append(m.workers, modelWorker{q: table.Queue(i)})
	}
	return m
}

func (m *model) id(flow int) ID {
	var k packet.Key
	k[0], k[1] = byte(flow), byte(flow>>8)
	if m.opt.forget && m.IntN(50) == 0 {
		k[2] = byte(1 + m.IntN(200))
	}
	return m.table.ID(&k)
}

// run takes n steps, then lets everything arrive.
func (m *model) run(n int) {
	quiet := 0 // how many sender's steps of 64 do nothing
	for i := range n {
		if i%200 == 0 {
			quiet = m.IntN(64)
		}
		m.now += m.Int64N(40)
		if m.IntN(3) > 0 {
			m.work(&m.workers[m.IntN(len(m.workers))])
		} else if m.IntN(64) >= quiet {
			m.send(m.IntN(len(m.senders)), true)
		}
		for i := range m.senders { // nothing travels longer than it may
			if s := &m.senders[i]; s.travelling && m.now >= s.arrives {
				m.send(i, false)
			}
		}
		if m.IntN(2000) == 0 {
			m.forgetFlow(m.IntN(len(m.confirmed)))
		}
	}
	for i := range m.senders {
		m.send(i, false)
	}
	m.drain()
}

// forgetFlow is conntrack's timeout: long after the flow's last packet. What
// travels arrives before, and no queue's backlog is as old as that.
func (m *model) forgetFlow(flow int) {
	for i := range m.senders {
		m.send(i, false)
	}
	m.drain()
	m.confirmed[flow] = false
	m.now += 2 * modelIdle
}

// drain lets the workers judge all there is.
func (m *model) drain() {
	busy := func(w modelWorker) bool { return len(w.socket) > 0 || w.stage != stageReceive }
	for slices.ContainsFunc(m.workers, busy) {
		m.now++
		for i := range m.workers {
			m.work(&m.workers[i])
		}
	}
}

func (m *model) send(i int, fresh bool) {
	s := &m.senders[i]
	if s.travelling {
		s.travelling = false
		w := &m.workers[s.queue]
		w.socket = append(w.socket, s.packet)
		return
	}
	if !fresh {
		return
	}
	flow := m.IntN(len(m.confirmed))
	if m.IntN(2) == 0 {
		flow = int(m.now/5000) % len(m.confirmed) // bursts: all senders on one flow
	}
	key := [2]int{i, flow}
	m.next[key]++
	m.sent++
	s.packet = modelPacket{flow: flow, sender: i, number: m.next[key], unconfirmed: !m.confirmed[flow]}
	s.queue = flow % len(m.workers)
	if m.opt.spread {
		s.queue = m.IntN(len(m.workers))
	}
	s.travelling, s.arrives = true, m.now+m.Int64N(modelTravel)
}

// work takes one step of a worker.
func (m *model) work(w *modelWorker) {
	switch w.stage {
	case stageReceive:
		m.receive(w)
	case stageJudge:
		m.judge(w)
	case stageVerdicts:
		if m.opt.confirmEarly && len(w.pass) > 0 {
			m.settle(w)
		}
		if len(w.pass) > 0 {
			m.confirm(w.pass[0])
			w.pass = w.pass[1:]
			return
		}
		w.stage = stageResend
	case stageResend:
		if len(w.held) > 0 {
			m.resend(w, w.held[0].id, w.held[0].modelPacket)
			w.held = w.held[1:]
			return
		}
		m.settle(w)
		w.stage = stageReceive
		if len(w.batch) > 0 {
			w.stage = stageJudge
		}
	}
}

func (m *model) receive(w *modelWorker) {
	if len(w.socket) == 0 {
		if !w.waiting {
			w.empty, w.waiting = m.now, true
			w.q.Waiting(true)
		}
		return
	}
	before := w.empty
	n := min(len(w.socket), 1+m.IntN(8))
	if n == len(w.socket) && !w.waiting {
		w.empty = m.now // seen empty behind these packets
	}
	if w.waiting {
		w.waiting = false
		w.q.Waiting(false)
	}
	w.batch = append([]modelPacket(nil), w.socket[:n]...)
	w.socket = w.socket[n:]
	w.stamp = m.now
	w.q.SeenEmpty(before)
	if m.opt.blind {
		w.q.SeenEmpty(m.now + 10*modelGrace)
	}
	w.stage = stageJudge
}

// judge decides on one packet of the batch, or ends it.
func (m *model) judge(w *modelWorker) {
	if len(w.batch) == 0 {
		w.stage = stageVerdicts
		return
	}
	p := w.batch[0]
	entry := m.entry(p)
	id := m.id(p.flow)
	var decision Decision
	var owner int
	if entry == EntryConfirmed && len(w.held) == 0 && m.table.Quiet() {
		decision = Pass // as engine does, without looking the flow up
	} else if slices.ContainsFunc(w.held, func(h modelHeld) bool { return h.flow == p.flow }) {
		decision = Further // as engine does: it must not overtake
	} else {
		decision, owner = w.q.Decide(id, entry, w.stamp)
	}
	m.decisions[decision]++
	switch decision {
	case Foreign:
		if m.opt.detour || !w.q.HandOver(owner, Copy{ID: id, Packet: m.encode(p)}) {
			w.stamp = m.now
			w.stage = stageVerdicts // engine flushes before it waits
			return
		}
	case Pass, First:
		w.pass = append(w.pass, p)
	default:
		w.held = append(w.held, modelHeld{p, id})
	}
	w.batch = w.batch[1:]
	if m.IntN(10) == 0 {
		w.stage = stageVerdicts // an analysed packet is answered at once
	}
}

// entry is what the packet shows.
func (m *model) entry(p modelPacket) Entry {
	switch unconfirmed := p.unconfirmed != m.opt.inverted; {
	case !m.opt.exact || m.opt.partly && p.number%2 == 0:
		return EntryUnknown
	case unconfirmed && m.opt.misled && p.number%2 == 0:
		return EntryConfirmed
	case unconfirmed:
		return EntryUnconfirmed
	}
	return EntryConfirmed
}

func (m *model) settle(w *modelWorker) {
	w.q.Confirmed(func() int64 { return m.now }, func(c Copy) { m.resend(w, c.ID, m.decode(c.Packet)) })
}

// confirm is the verdict's way through the hooks behind the queue; it reports
// whether no rule dropped the packet there.
func (m *model) confirm(p modelPacket) bool {
	// The rule drops single packets, and for some time a flow's all.
	if m.opt.later && (m.IntN(8) == 0 || (int(m.now/(8*modelGrace))+p.flow)%3 == 0) {
		m.filtered++
		return false
	}
	if p.unconfirmed {
		if m.confirmed[p.flow] {
			m.clashes++
		}
		m.confirmed[p.flow] = true
	}
	m.deliver(p)
	return true
}

// resend is a copy's way: looked up and confirmed within one system call. Where
// it would not meet the rule, it is sent only if the flow is confirmed, else the
// packet itself is given back.
func (m *model) resend(w *modelWorker, id ID, p modelPacket) {
	if m.opt.detour {
		if !m.confirmed[p.flow] {
			m.confirm(p)
			return
		}
		m.deliver(p)
		w.q.Resent(id)
		return
	}
	p.unconfirmed = !m.confirmed[p.flow]
	if m.confirm(p) {
		w.q.Resent(id)
	}
}

func (m *model) deliver(p modelPacket) {
	m.delivered++
	key := [2]int{p.sender, p.flow}
	if p.number <= m.last[key] {
		m.reordered++
	}
	m.last[key] = p.number
}

func (m *model) encode(p modelPacket) []byte {
	return fmt.Appendf(nil, "%d %d %d", p.flow, p.sender, p.number)
}

func (m *model) decode(b []byte) (p modelPacket) {
	if _, err := fmt.Sscan(string(b), &p.flow, &p.sender, &p.number); err != nil {
		panic(err)
	}
	return p
}

// Each variant takes modelRuns times modelSteps steps of some actor.
const (
	modelRuns  = 150
	modelSteps = 2000
)

func TestModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for name, o := range map[string]modelOptions{
		"one queue":                         {queues: 1},
		"a flow in one of three":            {queues: 3},
		"a flow in three queues":            {queues: 3, spread: true},
		"a later rule drops":                {queues: 1, later: true},
		"three, a later rule drops":         {queues: 3, spread: true, later: true},
		"too small, a later rule drops":     {queues: 3, spread: true, later: true, flows: 8},
		"detour":                            {queues: 1, later: true, detour: true},
		"three, detour":                     {queues: 3, spread: true, later: true, detour: true},
		"too small, detour":                 {queues: 3, spread: true, later: true, detour: true, flows: 8},
		"exact":                             {queues: 1, exact: true},
		"exact, a flow in three":            {queues: 3, spread: true, exact: true},
		"exact, a later rule drops":         {queues: 1, exact: true, later: true},
		"exact, three, a later rule drops":  {queues: 3, spread: true, exact: true, later: true},
		"exact, detour":                     {queues: 1, exact: true, later: true, detour: true},
		"exact, three, detour":              {queues: 3, spread: true, exact: true, later: true, detour: true},
		"exact in part":                     {queues: 1, exact: true, partly: true},
		"exact in part, three, later rule":  {queues: 3, spread: true, exact: true, partly: true, later: true},
		"exact in part, three, detour":      {queues: 3, spread: true, exact: true, partly: true, later: true, detour: true},
		"exact in part, too small":          {queues: 3, spread: true, exact: true, partly: true, flows: 8},
		"table too small":                   {queues: 1, flows: 8},
		"table too small, a flow in three":  {queues: 3, spread: true, flows: 8},
		"table too small, exact, and three": {queues: 3, spread: true, exact: true, flows: 8},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var decisions [Foreign + 1]int
			for i := range modelRuns {
				o := o
				o.seed = seed + uint64(i)
				m := newModel(o)
				m.run(modelSteps)
				for d, n := range m.decisions {
					decisions[d] += n
				}
				if m.clashes > 0 || m.delivered+m.filtered != m.sent || !o.spread && m.reordered > 0 {
					t.Fatalf("seed %d: %d packets, %d clashes, %d delivered, %d filtered, %d reordered",
						o.seed, m.sent, m.clashes, m.delivered, m.filtered, m.reordered)
				}
			}
			t.Logf("decisions: %d Pass, %d First, %d Further, %d Full, %d Foreign",
				decisions[Pass], decisions[First], decisions[Further], decisions[Full], decisions[Foreign])
			if decisions[Pass] == 0 || decisions[First] == 0 || decisions[Further] == 0 {
				t.Error("a decision never occurred: the model does not test it")
			}
		})
	}
}

// TestModelCatchesBrokenGuards shows that the model would see a guard that is
// wrong.
func TestModelCatchesBrokenGuards(t *testing.T) {
	for name, o := range map[string]modelOptions{
		"settles before the verdicts returned": {queues: 2, spread: true, confirmEarly: true},
		"no grace":                             {queues: 3, noGrace: true, spread: true},
		"no proof, and a later rule drops":     {queues: 1, noProof: true, later: true},
		"forgets flows":                        {queues: 1, forget: true},
		"does not look for the empty socket":   {queues: 1, blind: true},
		"entries told the wrong way round":     {queues: 1, exact: true, inverted: true},
		"some entries told wrongly":            {queues: 1, exact: true, misled: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i := range modelRuns {
				o := o
				o.seed = uint64(i)
				m := newModel(o)
				if m.run(modelSteps); m.clashes > 0 {
					return
				}
			}
			t.Errorf("no clash in %d runs of %d steps", modelRuns, modelSteps)
		})
	}
}
