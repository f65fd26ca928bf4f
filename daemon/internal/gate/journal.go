package gate

import (
	"cmp"
	"slices"

	"verdictd/internal/packet"
)

// A Record is a held packet as a next process finds it. It is changed by plain stores,
// in an order in which it is never there by half.
type Record struct {
	Key       packet.Key
	ID, Print uint32
	Size      uint32
	Queue     uint16
	Turned    bool
	Used      bool // last to be set, first to be taken away
}

// Places is how many records a table of this configuration needs.
func (c *Config) Places() int { return min(int(c.Bytes/packetOverhead)+1, maxHeld) }

// note writes down that a packet is held.
func (t *Table) note(n int32, k *packet.Key) {
	if t.cfg.Journal == nil {
		return
	}
	h, r := &t.nodes[n], &t.cfg.Journal[n]
	r.Key, r.ID, r.Print, r.Size, r.Queue, r.Turned = *k, h.id, h.print, h.size, h.queue, h.turned
	r.Used = true
}

// Returned tells that all Verdicts have returned to the kernel, and empties them. Only
// then another process need not know of the packets.
func (t *Table) Returned() {
	if t.cfg.Journal != nil {
		for i := range t.Verdicts {
			if n := t.Verdicts[i].place - 1; n >= 0 {
				t.cfg.Journal[n].Used = false
				t.nodes[n].next, t.freeOf = t.freeOf, n
			}
		}
	}
	t.Verdicts = t.Verdicts[:0]
}

// Restore takes in as held what the journal has, and calls each with its queue and id.
// Nobody knows what of their flows is on its way, so the table is dark: see Darken. To
// be called before the first packet.
func (t *Table) Restore(each func(queue uint16, id uint32)) {
	t.darkNow()
	var left []int32
	t.freeOf = none
	for n := len(t.nodes) - 1; n >= 0; n-- {
		if t.cfg.Journal[n].Used {
			left = append(left, int32(n))
		} else {
			t.nodes[n].next, t.freeOf = t.freeOf, int32(n)
		}
	}
	slices.SortFunc(left, func(a, b int32) int {
		x, y := &t.cfg.Journal[a], &t.cfg.Journal[b]
		return cmp.Or(cmp.Compare(x.Queue, y.Queue), cmp.Compare(int32(x.ID-y.ID), 0))
	})
	for _, n := range left {
		r := &t.cfg.Journal[n]
		t.nodes[n] = held{id: r.ID, print: r.Print, next: none, at: t.now, size: r.Size, queue: r.Queue, turned: r.Turned, again: true}
		each(r.Queue, r.ID)
		i := t.remembered(&r.Key)
		if i == none { // more flows than this table has room for
			t.Counters.Unguarded++
			t.Counters.UnguardedFlows++
			t.Verdicts = append(t.Verdicts, Verdict{ID: r.ID, Queue: r.Queue, Accept: true, First: none, Again: true, place: n + 1})
			continue
		}
		f := &t.flows[i]
		f.seen = t.now
		if f.head == none {
			f.turned = r.Turned
		}
		t.awaitLight(i)
		t.append(i, n)
	}
}
