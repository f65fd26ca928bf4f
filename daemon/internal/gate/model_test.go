package gate

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"verdictd/internal/statistics"
)

type modelOptions struct {
	seed    uint64
	trace   func(flow int, what string)
	workers int
	queues  []mQueueOptions
	flows   int

	parallel bool // each flow has one of the queues; else they follow each other
	twice    bool // rules at two hooks feed each queue
	rules    bool // drop packets before, between and behind the queues
	nat      bool
	oneWay   bool // no packets of the other end
	list     bool
	forget   bool // conntrack -D, now and then
	flush    bool // somebody deletes a base chain
	reenter  bool // somebody adds a base chain before the gate
	devices  bool // a device goes, and all that came by it
	stops    bool // the gate's process stands still for long, now and then
	dark     bool // the gate begins while packets are on their way
	tries    bool // it finds out that a program wants a second packet, one at a time
	patient  bool // nothing may expire
	drop     bool
	ordered  bool // what is behind the gate keeps the order
	rounds   int

	table, flowPackets, bytes int
	hold                      time.Duration

	// Guards broken on purpose, to see that the model catches them.
	two         bool // releases two packets when one was gone
	emptyIsGone bool // takes empty queues for gone
	noBarrier   bool
	noSections  bool // does not wait until what was released has returned
	believes    bool // takes its own verdict for the confirm
	anyDrop     bool // takes any drop of a flow for that of its first packet
	directional bool // each direction is a flow
	forgets     bool // a held packet, now and then
	listsItself bool // packets are listed on their way
	stale       bool // what is listed and has no entry is not announced
	impatient   bool // lets packets expire while the judge has what they wait for
	bright      bool // does not ask what was on its way when it began
	hasty       bool // lists flows whose packets are on their way
	still       bool // does not listen for devices that go
	allInOrder  bool // takes every program for one that judges in order
	restless    bool // counts the time in which it stood still
	lossless    bool // takes packets that the socket had no room for as judged
}

type mQueueOptions struct {
	kind      kind
	own       bool
	drops     bool
	room      int // of the program's socket
	maxLength int
	failOpen  bool
	think     time.Duration // longest time for a packet, mostly
	stands    time.Duration // it stands still now and then, so long at most
}

// looked is called when conntrack looks a packet up: packets of one sender in one
// direction are looked up in their order.
func (m *model) looked(p *mPacket) {
	k := mOrder{p.sender, p.tuple}
	q := m.last[k]
	if q == nil || p.number > q.number {
		m.last[k] = p
		return
	}
	e := q.element
	switch {
	case p.reentered || q.reentered: // in the order in which somebody's chain let them through
	case q.listed && e != nil && p.gateAt <= e.committedAt && p.releasedAt >= e.decidedAt:
		m.overtaken++ // on its way through the gate when the element came
	default:
		m.reordered++
		m.fault("packet %d of sender %d, flow %d, is looked up after %d", p.number, p.sender, p.flow, q.number)
	}
}

// arrived is called when a packet has come to its receiver.
func (m *model) arrived(p *mPacket) {
	k := mOrder{p.sender, p.tuple}
	if q := m.lastArrived[k]; q != nil && q.number > p.number {
		if m.opt.ordered && !p.reentered && !q.reentered {
			m.reordered++
			m.fault("packet %d of sender %d, flow %d, arrives after %d", p.number, p.sender, p.flow, q.number)
		}
		return
	}
	m.lastArrived[k] = p
}

// clash is called when a packet's entry meets a confirmed one. Where the design
// does not promise that there is none, it says why.
func (m *model) clash(p *mPacket, c *mConn) {
	o := c.by
	why := m.promised(p, o)
	if why == "" {
		m.clashes++
		m.fault("clash: %v with %v, flow %d", p, o, p.flow)
		return
	}
	m.excused++
	m.why[why]++
}

// promised is empty where it is promised that these two do not clash.
func (m *model) promised(p, o *mPacket) string {
	trusted := func(x *mPacket) bool {
		return x.trusted && slices.ContainsFunc(m.flows[x.flow].forgotten, func(at int64) bool {
			return at >= x.trustedFrom && at <= x.lookedAt
		})
	}
	switch {
	case p.ungated && o.ungated:
		return "both on their way when the gate began"
	case p.loose || o.loose:
		return "counted as expired or unguarded"
	case p.tainted || o.tainted:
		return "on its way together with one of these"
	case p.key != o.key && m.flows[p.flow].nat != natNone:
		return "both ends at once, and NAT between them"
	case trusted(p) || trusted(o):
		return "conntrack forgot the flow while its answer counted"
	case p.slipped || o.slipped:
		return "two pass as listed while the element goes"
	case m.raced(p, o) || m.raced(o, p):
		return "one passes as listed at the same time"
	case m.committed(p, o) || m.committed(o, p):
		return "in the gate while the element came"
	}
	return ""
}

// raced: x passed as a listed one, and y on another processor before x's
// announcement was queued.
func (m *model) raced(x, y *mPacket) bool {
	return x.listed && x.announcedAt > 0 && y.checkedAt <= x.announcedAt &&
		max(y.gateAt, y.checkDoneAt) >= x.checkedAt
}

// committed: x met an element that was decided on before y was released, and y
// came before it was there.
func (m *model) committed(x, y *mPacket) bool {
	e := x.element
	return e != nil && x.announcedAt > 0 && y.gateAt <= e.committedAt && y.releasedAt >= e.decidedAt
}

// Each variant takes modelRuns times modelSteps steps of some actor.
const (
	modelRuns  = 30
	modelSteps = 12_000
)

var (
	ownQueue  = mQueueOptions{own: true}
	ownSlow   = mQueueOptions{own: true, think: 40 * time.Millisecond}
	inSlow    = mQueueOptions{kind: inOrder, think: 3 * time.Millisecond}
	foreignS  = mQueueOptions{kind: threaded, think: 40 * time.Millisecond}
	threadsS  = mQueueOptions{kind: threaded, stands: 500 * time.Millisecond}
	ownDrops  = mQueueOptions{own: true, drops: true}
	foreign   = mQueueOptions{kind: threaded}
	foreignD  = mQueueOptions{kind: threaded, drops: true}
	sequence  = mQueueOptions{kind: inOrder}
	second    = mQueueOptions{kind: wantsSecond}
	standing  = mQueueOptions{kind: inOrder, stands: 500 * time.Millisecond}
	fullQueue = mQueueOptions{kind: inOrder, maxLength: 6}
	fullRoom  = mQueueOptions{kind: inOrder, room: 4, stands: 20 * time.Millisecond}
	fullOpen  = mQueueOptions{kind: inOrder, room: 4, failOpen: true, stands: 20 * time.Millisecond}
)

func queues(q ...mQueueOptions) []mQueueOptions { return q }

func variants() map[string]modelOptions {
	return map[string]modelOptions{
		"own queue":                       {queues: queues(ownQueue), ordered: true},
		"own queue, policy drops":         {queues: queues(ownDrops), ordered: true},
		"own queue, rules drop":           {queues: queues(ownQueue), rules: true, ordered: true},
		"no queue but rules":              {rules: true, ordered: true},
		"three workers":                   {workers: 3, queues: queues(ownQueue), rules: true, ordered: true, flows: 24},
		"NAT":                             {workers: 2, queues: queues(ownQueue), nat: true, rules: true},
		"foreign threads":                 {queues: queues(foreignD), rules: true},
		"foreign in front":                {queues: queues(sequence, ownDrops), rules: true, ordered: true},
		"foreign threads in front":        {queues: queues(foreign, ownDrops), rules: true},
		"foreign behind":                  {queues: queues(ownDrops, sequence), rules: true, ordered: true},
		"foreign in front and behind":     {queues: queues(foreignD, ownDrops, foreignD), rules: true, nat: true},
		"four one after the other":        {queues: queues(sequence, ownQueue, sequence, sequence), rules: true, ordered: true},
		"parallel":                        {workers: 2, queues: queues(ownDrops, foreignD, sequence), parallel: true, rules: true},
		"one of three stands":             {queues: queues(ownDrops, foreignD, standing), parallel: true, rules: true, hold: 150 * time.Millisecond, patient: true},
		"one stands behind":               {queues: queues(ownDrops, standing), rules: true, hold: 150 * time.Millisecond, patient: true},
		"threads stand":                   {queues: queues(threadsS), rules: true, hold: 150 * time.Millisecond, patient: true},
		"backlog":                         {queues: queues(ownSlow), flows: 30, hold: 150 * time.Millisecond, patient: true, ordered: true},
		"backlog of threads":              {queues: queues(foreignS, ownQueue), flows: 40, rules: true, hold: 150 * time.Millisecond, patient: true},
		"devices go":                      {queues: queues(ownSlow), flows: 30, devices: true},
		"devices go, foreign":             {workers: 2, queues: queues(inSlow, foreign), flows: 30, devices: true, rules: true, nat: true},
		"stops":                           {queues: queues(ownSlow), flows: 30, stops: true, patient: true, rules: true, ordered: true},
		"stops, foreign":                  {workers: 2, queues: queues(foreign, ownDrops), stops: true, patient: true, rules: true, nat: true},
		"begins, stops":                   {queues: queues(ownDrops), dark: true, stops: true, patient: true, rules: true, ordered: true},
		"settled, stops":                  {workers: 2, queues: queues(foreignD, ownQueue), list: true, forget: true, stops: true, rules: true},
		"begins":                          {queues: queues(ownDrops), dark: true, rules: true, ordered: true},
		"begins, foreign":                 {workers: 2, queues: queues(foreignD, sequence), dark: true, rules: true, nat: true},
		"begins, one stands":              {queues: queues(ownQueue, standing), parallel: true, dark: true, list: true, rules: true},
		"wants the second, tried":         {queues: queues(second), tries: true},
		"two hooks, one queue":            {queues: queues(sequence), twice: true, rounds: 2, rules: true, ordered: true},
		"wants the second":                {queues: queues(second)},
		"wants the second, beside others": {queues: queues(ownDrops, second), parallel: true, rules: true},
		"expires":                         {queues: queues(foreignD), hold: 2 * time.Millisecond, rules: true},
		"queue too short":                 {queues: queues(fullQueue, ownQueue), rules: true},
		"socket too small":                {queues: queues(fullRoom, ownQueue), rules: true},
		"socket too small, fails open":    {queues: queues(fullOpen, ownQueue), rules: true},
		"forgotten":                       {queues: queues(ownQueue), forget: true, rules: true, ordered: true},
		"forgotten, NAT":                  {workers: 2, queues: queues(ownQueue, foreign), forget: true, nat: true},
		"settled":                         {queues: queues(ownQueue), list: true},
		"settled, forgotten":              {workers: 2, queues: queues(ownQueue), list: true, forget: true},
		"settled, forgotten, NAT, drops":  {workers: 2, queues: queues(foreignD, ownQueue), list: true, forget: true, nat: true, rules: true},
		"table of 4":                      {queues: queues(ownDrops), table: 4, rules: true},
		"table of 4, settled":             {workers: 2, queues: queues(foreignD), table: 4, rules: true, list: true, forget: true},
		"two packets a flow":              {queues: queues(ownDrops), flowPackets: 2, rules: true, ordered: true},
		"5,000 bytes":                     {queues: queues(ownDrops, foreign), bytes: 5000, rules: true},
		"base chains go":                  {queues: queues(foreign, ownDrops), flush: true, rules: true},
		"base chains come":                {queues: queues(ownDrops), reenter: true, rules: true},
		"everything":                      {workers: 2, queues: queues(foreignD, ownDrops, sequence), rules: true, nat: true, list: true, forget: true, flush: true, reenter: true, table: 8},
		"drop":                            {queues: queues(ownDrops), drop: true, rules: true, ordered: true},
		"drop, foreign":                   {workers: 2, queues: queues(foreignD, ownQueue), drop: true, rules: true, nat: true},
	}
}

func TestModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for name, o := range variants() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var sum statistics.Flows
			var sent, excused, overtaken int
			why := map[string]int{}
			for i := range modelRuns {
				o := o
				o.seed = seed + uint64(i)
				m := newModel(o)
				m.run(modelSteps)
				for _, f := range m.faults {
					t.Errorf("seed %d: %s", o.seed, f)
				}
				if t.Failed() {
					return
				}
				for i := range m.workers {
					statistics.Add(&sum, &m.workers[i].table.Counters)
				}
				sent, excused, overtaken = sent+m.sent, excused+m.excused, overtaken+m.overtaken
				for k, n := range m.why {
					why[k] += n
				}
			}
			if o.dark {
				excused -= why["both on their way when the gate began"]
			}
			if o.strict() && (excused > 0 || overtaken > 0 || sum.Expired > 0 || sum.Unguarded > 0) {
				t.Errorf("%d clashes, %d overtaken: %v; %+v", excused, overtaken, why, sum)
			}
			for kind, n := range o.occurs(&sum) {
				if n == 0 {
					t.Errorf("no packet was %s: the model does not test it", kind)
				}
			}
			t.Logf("%d packets, %d clashes and %d reordered where nothing is promised: %v; %+v", sent, excused, overtaken, why, sum)
		})
	}
}

// strict reports whether it is promised without any exception that nothing clashes
// or overtakes, and whether nothing may expire or go unguarded.
func (o *modelOptions) strict() bool {
	for _, q := range o.queues {
		if q.kind == wantsSecond {
			return false
		}
	}
	return !o.forget && !o.list && (o.hold == 0 || o.patient) && o.table == 0 && o.flowPackets == 0 && o.bytes == 0
}

// occurs is what has to happen in a variant.
func (o *modelOptions) occurs(c *statistics.Flows) map[string]uint64 {
	seen := map[string]uint64{"first": c.First, "passed": c.Passed, "held": c.Held, "confirmed": c.Confirmed}
	for name, x := range map[string]struct {
		wanted bool
		n      uint64
	}{
		"gone":                 {o.rules, c.Gone},
		"dropped":              {o.drop, c.Dropped},
		"expired":              {o.hold > 0 && !o.patient, c.Expired},
		"held in the dark":     {o.dark, c.Dark},
		"tried":                {o.tries, c.ExpiredSecond},
		"listed":               {o.list, c.Listed},
		"announced":            {o.list && o.forget && o.nat && o.table == 0, c.Announced}, // elsewhere there are few
		"vanished":             {o.flush || o.devices, c.Vanished},
		"let in again":         {o.reenter, c.Reentered},
		"unguarded, for flows": {o.table > 0 && o.table < 8, c.UnguardedFlows},
		"unguarded, of a flow": {o.flowPackets > 0, c.UnguardedPackets},
		"unguarded, for bytes": {o.bytes > 0, c.UnguardedBytes},
	} {
		if x.wanted {
			seen[name] = x.n
		}
	}
	return seen
}
