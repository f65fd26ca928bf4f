package gate

// A Judge is how the programs behind the gate give their verdicts, as far as
// packets of the gate may wait for them.
type Judge uint32

const (
	// Judging: verdicts come, or nothing waits for one.
	Judging Judge = iota
	// Standing: packets wait and none is judged. What is released then waits
	// behind its flow's first packet, and clashes with it.
	Standing
	// WantsSecond: the program has read all there is and judges nothing, as it
	// does until it has seen a flow's second packet.
	WantsSecond
)

// expireAgain is how often packets are looked at that may expire as soon as the
// judging program moves, in nanoseconds.
const expireAgain = int64(1_000_000)

// Expire lets go on what was held too long.
func (t *Table) Expire(j Judge) {
	for i := t.holding.head; i != none; i = t.holding.head {
		reason := t.expired(t.now-t.flows[i].heldSince, j)
		if reason == nil {
			return
		}
		t.expire(i, reason)
	}
}

// expired is the counter of the reason, or nil.
func (t *Table) expired(age int64, j Judge) *uint64 {
	switch {
	case j == WantsSecond && age >= secondWait:
		return &t.Counters.ExpiredSecond
	case age >= int64(t.cfg.HoldLimit):
		return &t.Counters.ExpiredLimit
	case age >= int64(t.cfg.Hold) && j != Standing:
		return &t.Counters.ExpiredHold
	}
	return nil
}

// Try lets the packets of one flow go on, the one that holds them longest: if the
// program judges then, it wanted a second packet.
func (t *Table) Try() {
	if i := t.holding.head; i != none {
		t.expire(i, &t.Counters.ExpiredSecond)
	}
}

func (t *Table) expire(i int32, reason *uint64) {
	n := t.letGo(i)
	t.Counters.Expired += n
	*reason += n
}
