package gate

// A Judge is what is known of the programs behind the gate, as far as packets of
// the gate may wait for their verdicts.
type Judge uint32

const (
	// Past: no queue that packets were released into has them still. Whatever is
	// held for long then waits for something that nobody can see.
	Past Judge = iota
	// Waiting: a queue has packets that were released, be it that its program is
	// slow or that it stands still. What is released meanwhile comes behind its
	// flow's first packet, and clashes with it.
	Waiting
	// WantsSecond: the program has read all there is and judges nothing, as it
	// does until it has seen a flow's second packet.
	WantsSecond
)

const (
	// expireAgain is how often packets are looked at that may expire as soon as
	// programs have judged what they have, in nanoseconds.
	expireAgain = int64(10_000_000)
	// clockStep is the most that counts at once: a process that was stopped has not
	// waited for anybody. Flows that hold packets are looked at more often than that.
	clockStep = int64(25_000_000)
)

// Expire lets go on what was held too long: guard.hold without the time in which
// first packets wait for a verdict, or guard.hold_limit in all. j is how it was when
// somebody looked last, at a time on the clock of Begin: what came later nobody knows.
// Time counts that is between two looks with none waiting.
func (t *Table) Expire(j Judge, looked int64) {
	if looked = max(min(looked, t.now), t.clockAt); j != Waiting && t.judge != Waiting {
		t.clock += min(looked-t.clockAt, clockStep)
	}
	t.judge, t.clockAt = j, looked
	for i := t.holding.head; i != none; i = t.holding.head {
		reason := t.expired(&t.flows[i])
		if reason == nil {
			return
		}
		t.expire(i, reason)
	}
}

// expired is the counter of the reason, or nil.
func (t *Table) expired(f *flow) *uint64 {
	switch age := t.running.ran - f.heldRan; {
	case t.judge == WantsSecond && age >= secondWait:
		return &t.Counters.ExpiredSecond
	case age >= int64(t.cfg.HoldLimit):
		return &t.Counters.ExpiredLimit
	case t.clock-f.heldClock >= int64(t.cfg.Hold):
		return &t.Counters.ExpiredHold
	}
	return nil
}

// holdBegins notes since when a flow holds packets.
func (t *Table) holdBegins(i int32) {
	if t.holding.length == 0 {
		t.clockAt = t.now
	}
	f := &t.flows[i]
	f.heldRan, f.heldClock = t.running.ran, t.clock
	t.holding.push(t.holdingLinks, i)
}

// expires is when the next packets may expire.
func (t *Table) expires() int64 {
	f := &t.flows[t.holding.head]
	age := t.running.ran - f.heldRan
	wait := int64(t.cfg.Hold) - (t.clock - f.heldClock)
	if t.judge == WantsSecond {
		wait = secondWait - age
	}
	if wait <= 0 {
		wait = expireAgain
	}
	return t.now + min(wait, max(int64(t.cfg.HoldLimit)-age, 0))
}

// Try lets one packet go on, of the flow that holds them longest: if the program
// judges then, it wanted a second packet.
func (t *Table) Try() {
	i := t.holding.head
	if i == none {
		return
	}
	h, place := t.take(i)
	t.Verdicts = append(t.Verdicts, Verdict{ID: h.id, Queue: h.queue, Accept: true, First: none, Since: h.at, Again: h.again, place: place})
	t.flows[i].several = true
	t.setEpoch(i)
	t.Counters.Expired++
	t.Counters.ExpiredSecond++
}

func (t *Table) expire(i int32, reason *uint64) {
	n := t.letGo(i)
	t.Counters.Expired += n
	*reason += n
}
