package gate

import (
	"testing"

	"verdictd/internal/statistics"
)

// pass lets milliseconds go by in which programs do the same all the time.
func pass(g *Table, j Judge, milliseconds int64) {
	for range milliseconds {
		g.Begin(g.now+ms, g.epoch)
		g.Expire(j, g.now)
	}
}

func TestExpire(t *testing.T) {
	const hold, limit, second = 1000, 30000, 5
	for name, tt := range map[string]struct {
		judge Judge
		after int64 // milliseconds
		count func(c *statistics.Flows) uint64
	}{
		"hold":                   {Past, hold, func(c *statistics.Flows) uint64 { return c.ExpiredHold }},
		"hold, not yet":          {Past, hold - 1, nil},
		"waits":                  {Waiting, limit - 1, nil},
		"waits too long":         {Waiting, limit, func(c *statistics.Flows) uint64 { return c.ExpiredLimit }},
		"wants the second":       {WantsSecond, second, func(c *statistics.Flows) uint64 { return c.ExpiredSecond }},
		"wants the second later": {WantsSecond, second - 1, nil},
	} {
		t.Run(name, func(t *testing.T) {
			g := newTable(t, nil)
			give(g, 1, 1, 2)
			give(g, 2, 11)
			verdicts(g)
			pass(g, tt.judge, tt.after-1)
			give(g, 1, 3)
			give(g, 2, 12)
			pass(g, tt.judge, 1)
			if tt.count == nil {
				equal(t, verdicts(g), nil)
				return
			}
			equal(t, verdicts(g), []int{2, 3}) // counted from the first that was held
			if c := &g.Counters; tt.count(c) != 2 || c.Expired != 2 || g.Held() != 1 {
				t.Errorf("%d held, counted %+v", g.Held(), *c)
			}
		})
	}
}

// TestTimeInAQueueDoesNotCount: guard.hold is for what nobody can see.
func TestTimeInAQueueDoesNotCount(t *testing.T) {
	g := newTable(t, nil)
	give(g, 1, 1, 2)
	pass(g, Waiting, 5000)
	pass(g, Past, 601)
	pass(g, Waiting, 5000)
	pass(g, Past, 400)
	equal(t, verdicts(g), []int{1})
	pass(g, Past, 1)
	equal(t, verdicts(g), []int{2})
}

// TestTimeWithoutHeldPacketsDoesNotCount, nor that in which this process did not run.
func TestTimeWithoutHeldPacketsDoesNotCount(t *testing.T) {
	g := newTable(t, nil)
	g.Expire(Past, g.now)
	at(g, 60_000)
	give(g, 1, 1, 2)
	pass(g, Past, 10)
	at(g, 75_000)
	pass(g, Past, 800)
	equal(t, verdicts(g), []int{1})
	pass(g, Past, 200)
	equal(t, verdicts(g), []int{1, 2}[1:])
}

// TestAStopIsNoWait: who was stopped, between any two steps, has not waited for what programs did meanwhile, nor have
// they done it by then.
func TestAStopIsNoWait(t *testing.T) {
	g := newTable(t, nil)
	g.Darken(false)
	give(g, 1, 1)
	g.Begin(g.now+600_000*ms, g.epoch)
	if give(g, 2, 2); g.Dark() == 0 || g.Held() != 2 {
		t.Errorf("after a stop in the dark it is light, and %d are held, want 2", g.Held())
	}
	g.Expire(Waiting, g.now)
	for range 30_000 - 251 {
		g.Begin(g.now+ms, g.epoch)
		g.Expire(Waiting, g.now)
	}
	if g.Dark() == 0 || g.Held() != 2 {
		t.Errorf("a stop counts for more than 250 ms: dark %d, %d held", g.Dark(), g.Held())
	}
	g.Begin(g.now+ms, g.epoch)
	if g.Expire(Waiting, g.now); g.Counters.ExpiredLimit != 1 || g.Held() != 1 {
		t.Errorf("%d held after guard.hold_limit, want the second: %+v", g.Held(), g.Counters)
	}
	pass(g, Waiting, 250)
	if g.Counters.ExpiredLimit != 2 {
		t.Errorf("%d have expired, want both", g.Counters.ExpiredLimit)
	}
}

// TestGoneGivesTime: that the one before is gone is proved, so each that takes its
// place has guard.hold and guard.hold_limit for itself.
func TestGoneGivesTime(t *testing.T) {
	for name, tt := range map[string]struct {
		judge Judge
		hold  int64
	}{"hold": {Past, 1000}, "hold_limit": {Waiting, 30_000}} {
		t.Run(name, func(t *testing.T) {
			g := newTable(t, nil)
			give(g, 1, 1, 2, 3, 4)
			k := key(1)
			pass(g, tt.judge, tt.hold-1)
			g.Dropped(&k, 1)
			equal(t, verdicts(g), []int{1, 2})
			pass(g, tt.judge, tt.hold-1)
			equal(t, verdicts(g), nil)
			pass(g, tt.judge, 1)
			equal(t, verdicts(g), []int{3, 4})
		})
	}
}

// TestTry: one packet alone, of the flow that holds longest, and the others wait for
// it, too.
func TestTry(t *testing.T) {
	g := newTable(t, nil)
	g.Try()
	give(g, 1, 1, 2, 3)
	give(g, 2, 4, 5)
	verdicts(g)
	g.Begin(g.now, 2)
	g.Try()
	equal(t, verdicts(g), []int{2})
	if c := &g.Counters; c.ExpiredSecond != 1 || c.Expired != 1 || g.Held() != 2 {
		t.Errorf("%d held, counted %+v", g.Held(), g.Counters)
	}
	k := key(1)
	g.Dropped(&k, 1) // the other one is on its way
	g.Begin(g.now, 3)
	g.Resolve(1)
	for sayNow(g, false) > 0 {
		continue
	}
	equal(t, verdicts(g), []int{5})
	g.Resolve(2)
	sayNow(g, false)
	equal(t, verdicts(g), []int{3})
}

// TestUnseenTime: time counts as far as somebody has looked, and not where a watcher that waits for a CPU said long ago
// that nothing waits for a verdict.
func TestUnseenTime(t *testing.T) {
	g := newTable(t, nil)
	send(g, 1, 2)
	looked := g.now
	for range 5000 {
		g.Begin(g.now+ms, g.epoch)
		g.Expire(Past, looked)
	}
	if g.Counters.Expired != 0 {
		t.Errorf("%d packets have expired, and nobody has looked", g.Counters.Expired)
	}
	// What is between two looks counts as 25 ms at most.
	pass(g, Past, 975)
	if g.Counters.Expired != 0 {
		t.Errorf("%d packets have expired too early", g.Counters.Expired)
	}
	if pass(g, Past, 1); g.Counters.Expired != 1 {
		t.Errorf("%d packets have expired after a second that was seen, want 1", g.Counters.Expired)
	}
}
