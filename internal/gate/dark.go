package gate

// Darken begins a time in which nothing is known of packets that are on their way
// already, as a gate begins or rules queue more than they did: flows that are not
// remembered count as pending until all that was on its way in the present epoch
// is past every queue. That takes no longer than guard.hold.
func (t *Table) Darken() {
	if t.cfg.Drop {
		return // it would drop first packets
	}
	t.dark, t.darkUntil = t.epoch, t.now+int64(t.cfg.Hold)
}

func (t *Table) isDark() bool {
	if t.dark != 0 && (t.now > t.darkUntil || !t.underWay(t.dark)) {
		t.dark = 0
	}
	return t.dark != 0
}

// awaitLight makes a flow pending whose first packet may be on its way.
func (t *Table) awaitLight(i int32) {
	f := &t.flows[i]
	t.recent.remove(t.recentLinks, i)
	f.pending, f.several, f.last = true, true, t.dark
	oldest, _ := t.unresolved(0, t.dark)
	t.await(i, oldest)
}
