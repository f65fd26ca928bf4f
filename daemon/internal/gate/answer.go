package gate

import "verdictd/internal/packet"

// Answer takes conntrack's answer to a question.
func (t *Table) Answer(i int32, known bool) {
	f := &t.flows[i]
	if known {
		t.open(i)
		f.knownUntil = t.now + trust
		t.Counters.Confirmed += t.release(i, true)
		t.list(i)
		return
	}
	switch {
	case f.head == none:
	case f.resolved:
		t.gone(i)
	case t.cfg.Drop && f.firstAt != 0:
		t.Counters.Dropped += t.release(i, false)
	default:
		t.ask(i, min(f.due+1, dueLists-1))
	}
}

// Unanswered tells that a question got no answer: it is put again later.
func (t *Table) Unanswered(i int32) {
	if f := &t.flows[i]; f.head != none {
		t.ask(i, min(f.due+1, dueLists-1))
	}
}

// gone lets the packet that is held longest go on in the place of the first one,
// which was dropped. It has the time of guard.hold for itself: that the one before
// was dropped is proved, and many may be dropped one after the other.
func (t *Table) gone(i int32) {
	t.open(i)
	if t.flows[i].head == none {
		return
	}
	if t.flows[i].firstAt == 0 {
		t.Counters.Dark++ // none is known to have been before it
	} else {
		t.Counters.Gone++
	}
	h, place := t.take(i)
	t.Counters.First++
	t.first(i, h)
	v := &t.Verdicts[len(t.Verdicts)-1]
	v.Since, v.place = h.at, place
	if t.flows[i].head != none {
		t.holding.remove(t.holdingLinks, i)
		t.holdBegins(i)
		t.askFirst(i)
	}
}

// Refused tells that the kernel did not know a packet when its verdict came, by
// its Verdict's First and ID: somebody had deleted a base chain, or a device went.
func (t *Table) Refused(i int32, id uint32) {
	t.Counters.Vanished++
	if i < 0 || int(i) >= len(t.flows) {
		return
	}
	if f := &t.flows[i]; f.pending && !f.several && f.firstID == id {
		t.gone(i)
	}
}

// Dropped tells that a packet was dropped behind the gate, and the verdict has
// returned. It counts where that is the very packet that was let go as the first,
// and nothing else of its flow is on its way.
func (t *Table) Dropped(k *packet.Key, fingerprint uint32) {
	i := t.find(k)
	if i == none {
		return
	}
	if f := &t.flows[i]; f.pending && !f.several && f.firstPrint == fingerprint {
		t.gone(i)
	}
}
