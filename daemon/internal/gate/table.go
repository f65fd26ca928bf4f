package gate

import (
	"hash/maphash"
	"sync/atomic"

	"verdictd/internal/packet"
	"verdictd/internal/statistics"
)

// A flow is open or pending; see the package's documentation.
type flow struct {
	key     packet.Key // as FlowKey makes it
	pending bool
	// resolved: the first packet is confirmed or gone, and conntrack will say which.
	resolved bool
	// several packets are on their way, the first and others.
	several bool
	// turned: the first packet's own tuple is the reverse of key. Where addresses are
	// translated, conntrack knows no other.
	turned bool
	due    uint8 // the list of Table.due that the flow is in
	// packets that came since the flow is remembered, or since it was listed.
	packets uint16
	// Packets were released in epoch and up to last; those before are resolved.
	epoch, last uint64
	chain       int32 // next of the same hash

	// The first packet that was released last.
	firstID    uint32
	firstPrint uint32
	firstAt    int64 // when it was released
	firstSince int64 // when it came

	seen       int64  // last packet
	passed     uint64 // the epoch in which the last packet was released
	listed     int64  // when the flow was handed over to be listed; 0: long ago
	knownUntil int64  // conntrack's answer counts until then

	// What is held, in order.
	head, tail, count int32
	heldRan           int64 // Table.running then
	heldClock         int64 // Table.clock then
	dueAt             int64 // when conntrack is to be asked next
	listAt            int64 // when to look whether it has paused
}

// A Verdict is for a packet of the gate's queues.
type Verdict struct {
	ID uint32
	// Queue is that of the packet.
	Queue  uint16
	Accept bool
	// First is the flow whose first packet this is, or none: Refused wants it back.
	First int32
	// Since is when the packet began to be held; 0: it was not.
	Since int64
	// Again: it may have one already.
	Again bool

	place int32 // that it has while it is held, from 1 on
}

// A Table decides for the packets of one gate. Its methods must be called from
// one goroutine. What they decide is in Verdicts.
type Table struct {
	cfg  Config
	seed maphash.Seed
	mask uint64

	flows   []flow
	buckets []int32
	free    int32 // flows, linked by chain
	nodes   []held
	freeOf  int32 // nodes, linked by next

	// Open flows are in recent, by their last packet or the end of the wait for it.
	// Pending flows are in the list of their epoch until that is resolved. Flows that
	// hold packets are in holding, by heldRan, and in one of due. Those that may be
	// listed are in candidates.
	recentLinks, epochLinks, holdingLinks, dueLinks, candidateLinks []link

	recent, holding, candidates list
	epochs                      [EpochsKept]epoch
	due                         [dueLists]list

	epoch        uint64
	now          int64
	running      Clock
	chainAdded   int64
	bytes        int64
	held         int
	remembers    int // flows
	moved        int // verdicts of others that conntrack was not asked for yet
	asked, again bucket

	// clock counts the time in which packets may expire, as of clockAt.
	judge          Judge
	clock, clockAt int64

	listAfter uint16
	// listsAfter is the last epoch that a candidate was seen to wait for.
	listsAfter uint64

	dark      uint64 // see Dark
	darkSince int64
	darkRan   int64 // running at darkSince
	changing  bool  // rules are

	// touches counts, for each flow's place, what ends the listing of a flow that was
	// handed over.
	touches []atomic.Uint32

	// Verdicts are to be given in this order; who has done so empties it.
	Verdicts []Verdict
	// Listed are flows to be put into the settled set; who has done so empties it.
	Listed []Listing

	Counters statistics.Flows
}

// New makes a table; all its memory at once.
func New(cfg Config) (*Table, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	buckets := 1
	for buckets < cfg.Flows {
		buckets *= 2
	}
	places := min(int(cfg.Bytes/packetOverhead)+1, maxHeld)
	if cfg.Journal != nil {
		places = len(cfg.Journal)
	}
	t := &Table{
		cfg: cfg, seed: maphash.MakeSeed(), mask: uint64(buckets - 1),
		flows: make([]flow, cfg.Flows), buckets: make([]int32, buckets), free: none, freeOf: none,
		nodes:       make([]held, places),
		recentLinks: make([]link, cfg.Flows), epochLinks: make([]link, cfg.Flows),
		holdingLinks: make([]link, cfg.Flows), dueLinks: make([]link, cfg.Flows), candidateLinks: make([]link, cfg.Flows),
		listAfter: listAfter,
		touches:   make([]atomic.Uint32, cfg.Flows),
		recent:    newList(), holding: newList(), candidates: newList(),
		Verdicts: make([]Verdict, 0, 1024), Listed: make([]Listing, 0, 256),
	}
	for i := range t.buckets {
		t.buckets[i] = none
	}
	for i := range t.epochs {
		t.epochs[i].list = newList()
	}
	for i := range t.due {
		t.due[i] = newList()
	}
	for i := len(t.flows) - 1; i >= 0; i-- {
		t.flows[i].chain, t.free = t.free, int32(i)
	}
	for i := len(t.nodes) - 1; i >= 0; i-- {
		t.nodes[i].next, t.freeOf = t.freeOf, int32(i)
	}
	return t, nil
}

// Begin tells the time, in nanoseconds, and the epoch that packets released from
// now on belong to. To be called once before a run of other calls, up to Expire: flows
// whose time is up are asked for by the same time first.
func (t *Table) Begin(now int64, epoch uint64) {
	t.running.Pass(now)
	t.now, t.epoch = now, epoch
	t.epochs[epoch%EpochsKept].begin(epoch)
	if t.changing {
		t.darkNow()
	}
}

// ChainAdded tells when somebody last added a base chain.
func (t *Table) ChainAdded(at int64) { t.chainAdded = at }

// Flows is how many flows are remembered.
func (t *Table) Flows() int { return t.remembers }

// Held is how many packets are held.
func (t *Table) Held() int { return t.held }

// HeldBytes is what they count for.
func (t *Table) HeldBytes() int64 { return t.bytes }

// Pending reports whether anything waits for an epoch to be resolved.
func (t *Table) Pending() bool {
	if t.dark != 0 || t.candidates.length > 0 && t.underWay(t.listsAfter) {
		return true
	}
	for i := range t.epochs {
		if t.epochs[i].length > 0 {
			return true
		}
	}
	return t.holding.length > 0
}

func (t *Table) bucket(k *packet.Key) *int32 {
	return &t.buckets[maphash.Bytes(t.seed, k[:])&t.mask]
}

func (t *Table) find(k *packet.Key) int32 {
	for i := *t.bucket(k); i != none; i = t.flows[i].chain {
		if t.flows[i].key == *k {
			return i
		}
	}
	return none
}

// remembered finds a flow or makes it, in the place of one that has been quiet
// the longest where there is no room; none where all have something on its way.
func (t *Table) remembered(k *packet.Key) int32 {
	if i := t.find(k); i != none {
		if !t.flows[i].pending {
			t.recent.remove(t.recentLinks, i)
			t.recent.push(t.recentLinks, i)
		}
		return i
	}
	if t.free == none {
		if t.recent.head == none {
			return none
		}
		t.forget(t.recent.head)
	}
	i := t.free
	f := &t.flows[i]
	t.free = f.chain
	b := t.bucket(k)
	*f = flow{key: *k, chain: *b, head: none, tail: none}
	*b = i
	t.recent.push(t.recentLinks, i)
	t.remembers++
	t.Counters.MaxFlows = max(t.Counters.MaxFlows, uint64(t.remembers))
	return i
}

// forget gives an open flow's place back.
func (t *Table) forget(i int32) {
	f := &t.flows[i]
	for at := t.bucket(&f.key); ; at = &t.flows[*at].chain {
		if *at == i {
			*at = f.chain
			break
		}
	}
	t.recent.remove(t.recentLinks, i)
	t.candidates.remove(t.candidateLinks, i)
	t.touches[i].Add(1)
	f.chain, t.free = t.free, i
	t.remembers--
}

// Forget gives back the places of flows that have been quiet for long.
func (t *Table) Forget() {
	t.isDark()
	for i := t.recent.head; i != none && t.now-t.flows[i].seen > remember; i = t.recent.head {
		t.forget(i)
	}
}
