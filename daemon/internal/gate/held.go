package gate

// held is a packet that waits in the kernel for its verdict.
type held struct {
	id, print uint32
	next      int32
	at        int64 // since when
	size      uint32
	queue     uint16
	turned    bool // as Packet has it
	again     bool // as Packet has it
}

func (t *Table) heldNow(p *Packet) held {
	return held{
		id: p.ID, print: p.Print, next: none, at: t.now,
		size: p.Bytes + packetOverhead, queue: p.Queue, turned: p.Turned, again: p.Again,
	}
}

// maxHeld is more than the kernel holds for one queue (65,535, by its own limit
// on the length, is what the gate's queues are bound with), a few times over, as
// a table has several queues with zones.
const maxHeld = 1 << 18

// hold keeps a further packet, or lets it go on where a bound is reached.
func (t *Table) hold(i int32, p *Packet) {
	size := int64(p.Bytes) + packetOverhead
	switch {
	case int(t.flows[i].count) >= t.cfg.FlowPackets:
		t.overflow(i, p, &t.Counters.UnguardedPackets)
	case t.bytes+size > t.cfg.Bytes || t.freeOf == none:
		t.overflow(i, p, &t.Counters.UnguardedBytes)
	default:
		t.keep(i, p)
	}
}

// overflow lets a packet go on, behind those of its flow that are held: none
// overtakes another.
func (t *Table) overflow(i int32, p *Packet, reason *uint64) {
	n := t.letGo(i) + 1
	t.accept(p.ID, p.Queue, none)
	t.Counters.Unguarded += n
	*reason += n
}

func (t *Table) keep(i int32, p *Packet) {
	n := t.freeOf
	t.freeOf = t.nodes[n].next
	t.nodes[n] = t.heldNow(p)
	t.note(n, &t.flows[i].key)
	t.append(i, n)
}

// append puts a packet behind those of its flow that are held.
func (t *Table) append(i, n int32) {
	f := &t.flows[i]
	if f.tail == none {
		f.head = n
		t.holdBegins(i)
		t.askFirst(i)
	} else {
		t.nodes[f.tail].next = n
	}
	f.tail = n
	f.count++
	t.held++
	t.bytes += int64(t.nodes[n].size)
	t.Counters.Held++
	t.Counters.MaxHeld = max(t.Counters.MaxHeld, uint64(t.held))
	t.Counters.MaxBytes = max(t.Counters.MaxBytes, uint64(t.bytes))
}

// take removes the packet that is held longest. Its place is free when its verdict has
// returned, where there is a journal.
func (t *Table) take(i int32) (h held, place int32) {
	f := &t.flows[i]
	n := f.head
	h = t.nodes[n]
	f.head = h.next
	f.count--
	t.held--
	t.bytes -= int64(h.size)
	if t.cfg.Journal == nil {
		t.nodes[n].next, t.freeOf = t.freeOf, n
	} else {
		place = n + 1
	}
	if f.head == none {
		f.tail = none
		t.holding.remove(t.holdingLinks, i)
		t.due[f.due].remove(t.dueLinks, i)
	}
	return h, place
}

// release lets go on all that is held of a flow, in order.
func (t *Table) release(i int32, accept bool) (n uint64) {
	for t.flows[i].head != none {
		t.flows[i].passed = t.epoch
		h, place := t.take(i)
		t.Verdicts = append(t.Verdicts, Verdict{ID: h.id, Queue: h.queue, Accept: accept, First: none, Since: h.at, Again: h.again, place: place})
		n++
	}
	return n
}

// letGo releases the held packets of a flow that is pending still. They are on
// their way together with its first one, and the drop of one says nothing of the
// others.
func (t *Table) letGo(i int32) (n uint64) {
	n = t.release(i, true)
	t.flows[i].several = true
	t.setEpoch(i)
	return n
}

// Drain lets everything go on that is held, for a gate that ends, and says how
// many packets that were.
func (t *Table) Drain() (n uint64) {
	for t.holding.head != none {
		n += t.letGo(t.holding.head)
	}
	return n
}
