package gate

import "testing"

// TestDark: what comes just after the gate's beginning waits until all that was on
// its way then has arrived, unless conntrack has it.
func TestDark(t *testing.T) {
	g := newTable(t, nil)
	g.Darken(true)
	g.Begin(g.now+ms, 2)
	give(g, 1, 1, 2)
	g.Begin(g.now+ms, 3)
	g.Darken(false)
	give(g, 2, 3, 4)
	equal(t, verdicts(g), nil)
	if g.Dark() != 3 || !g.Pending() {
		t.Fatalf("dark until epoch %d is over, want 3; pending %v", g.Dark(), g.Pending())
	}
	q := make([]Question, 4)
	if g.Questions(q) != 2 {
		t.Fatal("conntrack is not asked for both at once")
	}
	g.Answer(q[0].Flow, false)
	g.Answer(q[1].Flow, true)
	equal(t, verdicts(g), []int{3, 4})
	g.Begin(g.now+ms, 4)
	k := key(1)
	g.Dropped(&k, 1) // says nothing of what nobody has seen
	g.Resolve(3)
	sayNow(g, false)
	equal(t, verdicts(g), nil)
	g.Resolve(1)
	sayNow(g, false)
	equal(t, verdicts(g), nil) // 2 is the epoch in which it came
	give(g, 3, 5)
	equal(t, verdicts(g), nil)
	g.Resolve(2)
	sayNow(g, false)
	sayNow(g, false)
	equal(t, verdicts(g), []int{1, 5})
	give(g, 4, 6) // it is light
	equal(t, verdicts(g), []int{6})
	g.Forget()
	if c := g.Counters; g.Dark() != 0 || c.Dark != 2 || c.Gone != 0 {
		t.Errorf("dark until epoch %d is over, counted %+v", g.Dark(), c)
	}
}

// TestDarkForFlowsThatAreRemembered: packets of theirs that did not come to the gate
// before may be on their way, too. Not where conntrack was seen to have them.
func TestDarkForFlowsThatAreRemembered(t *testing.T) {
	g := newTable(t, nil)
	give(g, 1, 1) // pending
	give(g, 2, 2) // open
	give(g, 3, 3, 4)
	give(g, 4, 5)
	say(g, true)
	g.Begin(g.now+1, 2)
	k := key(2)
	g.Dropped(&k, 2)
	k = key(4)
	g.Dropped(&k, 5)
	g.Begin(g.now+1, 3)
	g.Darken(false)
	verdicts(g)
	give(g, 1, 11)
	give(g, 2, 12)
	give(g, 3, 13)
	equal(t, verdicts(g), []int{13})
	g.Begin(g.now+1, 4)
	g.Resolve(1)
	sayNow(g, false)
	equal(t, verdicts(g), nil)
	g.Resolve(2)
	g.Resolve(3)
	sayNow(g, false)
	equal(t, verdicts(g), []int{11, 12})
	give(g, 4, 14)
	equal(t, verdicts(g), []int{14})
}

// TestDarkEnds: after guard.hold, be it that an epoch is never resolved and that
// nothing comes.
func TestDarkEnds(t *testing.T) {
	g := newTable(t, nil)
	g.Darken(true)
	at(g, 5000)
	if d := g.Wait(); g.Dark() == 0 || d >= 0 {
		t.Fatalf("dark %d, wait %d, while rules change", g.Dark(), d)
	}
	g.Darken(false)
	for range 3 {
		if d := g.Wait(); g.Dark() == 0 || d != 250*ms {
			t.Errorf("dark %d, wait %d, want a quarter of guard.hold", g.Dark(), d)
		}
		g.Begin(g.now+250*ms, g.epoch)
		g.Forget()
	}
	g.Begin(g.now+249*ms, g.epoch)
	g.Forget()
	if d := g.Wait(); g.Dark() == 0 || d != ms {
		t.Errorf("dark %d, wait %d, want the last millisecond of guard.hold", g.Dark(), d)
	}
	g.Begin(g.now+ms, g.epoch)
	g.Forget()
	if g.Dark() != 0 || g.Pending() || g.Wait() >= 0 {
		t.Errorf("dark %d, pending %v, wait %d", g.Dark(), g.Pending(), g.Wait())
	}
}

// TestDarkJoins: an epoch that is joined with an earlier one lasts as long as that.
func TestDarkJoins(t *testing.T) {
	g := newTable(t, nil)
	g.Begin(g.now, 2)
	g.Darken(false)
	give(g, 1, 1)
	g.Begin(g.now, 3)
	g.Join(2, 1)
	give(g, 2, 2)
	sayNow(g, false)
	equal(t, verdicts(g), nil)
	g.Resolve(1)
	sayNow(g, false)
	equal(t, verdicts(g), []int{1, 2})
}

// TestDarkInModeDrop: packets of which one may be the first are held in mode drop too.
// The first one goes on when nothing else can be on its way, and further ones are dropped
// from then on.
func TestDarkInModeDrop(t *testing.T) {
	g := newTable(t, func(c *Config) { c.Drop = true })
	g.Darken(false)
	for id := range uint32(3) {
		give(g, 1, id+1)
	}
	give(g, 2, 11)
	sayNow(g, false)
	equal(t, verdicts(g), nil)
	g.Begin(g.now+1, 2)
	g.Resolve(1)
	sayNow(g, false)
	equal(t, verdicts(g), []int{1, 11})
	sayNow(g, false)
	equal(t, verdicts(g), []int{-2, -3})
	if g.Counters.Dropped != 2 || g.Held() != 0 {
		t.Errorf("%d dropped, %d held", g.Counters.Dropped, g.Held())
	}
}
