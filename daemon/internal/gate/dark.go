package gate

// Darken tells that rules are about to queue more than they did, as they do when
// the gate begins, or (false) that they do so now. Packets may be on their way then
// that the gate has not seen. So until all that was on its way in the epoch of the
// change is past every queue, a flow counts as pending that has not come to the gate
// since: its packets are held, and conntrack is asked. That takes no longer than
// guard.hold, or guard.hold_limit where programs do not judge what they have. Mode drop
// holds them as well, as one may be the flow's first.
//
// What was on its way has gone before any reading of a Progress, so epochs up to
// that of Dark are to be ended with none to compare with: Progress.Start(nil).
func (t *Table) Darken(changing bool) {
	t.changing = changing
	t.darkNow()
}

func (t *Table) darkNow() {
	t.dark, t.darkSince, t.darkRan = t.epoch, t.now, t.running.ran
}

// Dark is the epoch that flows wait for which have not come since rules changed, or
// 0.
func (t *Table) Dark() uint64 { return t.dark }

func (t *Table) isDark() bool {
	if t.dark != 0 && !t.changing && (t.darkLeft() <= 0 || !t.underWay(t.dark)) {
		t.dark = 0
	}
	return t.dark != 0
}

// darkLeft is how long the dark lasts still, whatever is on its way. While programs have
// packets that they do not judge that is longer, as theirs are among them.
func (t *Table) darkLeft() int64 {
	most := t.cfg.Hold
	if t.judge == Waiting {
		most = t.cfg.HoldLimit
	}
	return int64(most) - (t.running.ran - t.darkRan)
}

// awaitLight makes a flow pending of which packets may be on their way that the gate
// has not seen.
func (t *Table) awaitLight(i int32) {
	f := &t.flows[i]
	if !f.pending {
		t.recent.remove(t.recentLinks, i)
		f.firstAt = 0 // nobody knows it
	}
	f.pending, f.several, f.resolved = true, true, false
	f.last = max(f.last, t.dark)
	if !t.epochLinks[i].in {
		oldest, _ := t.unresolved(0, t.dark)
		t.await(i, oldest)
	}
}
