package gate

import "testing"

// TestDropMode: further packets are dropped while their flow is pending, and no
// longer.
func TestDropMode(t *testing.T) {
	g := newTable(t, func(c *Config) { c.Drop = true })
	give(g, 1, 1, 2, 3)
	say(g, false)
	equal(t, verdicts(g), []int{1, -2, -3})
	give(g, 1, 4)
	say(g, true)
	equal(t, verdicts(g), []int{4})

	// The first packet was gone: the next one takes its place.
	give(g, 2, 11, 12)
	say(g, false)
	equal(t, verdicts(g), []int{11, -12})
	g.Begin(g.now, 2)
	give(g, 2, 13)
	g.Resolve(1)
	say(g, false)
	equal(t, verdicts(g), []int{13})
	give(g, 2, 14)
	say(g, false)
	equal(t, verdicts(g), []int{-14})
	if c := g.Counters; c.Dropped != 4 || c.Gone != 1 || c.Confirmed != 1 {
		t.Errorf("counted %+v", c)
	}
}

func TestOwnDrop(t *testing.T) {
	g := newTable(t, nil)
	give(g, 1, 1, 2, 3)
	k := key(1)
	g.Dropped(&k, 2) // another packet
	equal(t, verdicts(g), []int{1})
	g.Dropped(&k, 1)
	equal(t, verdicts(g), []int{2})
	g.Dropped(&k, 1) // told twice
	equal(t, verdicts(g), nil)
	g.Dropped(&k, 2)
	equal(t, verdicts(g), []int{3})
	unknown := key(9)
	g.Dropped(&unknown, 3)
	if c := g.Counters; c.Gone != 2 || c.First != 3 {
		t.Errorf("counted %+v", c)
	}
}

// TestOneOfSeveralIsDropped: the others are on their way still.
func TestOneOfSeveralIsDropped(t *testing.T) {
	for name, let := range map[string]func(g *Table){
		"announced": func(g *Table) { g.Packet(&Packet{Key: key(1), ID: 2, Print: 2, Announced: true}) },
		"expired": func(g *Table) {
			give(g, 1, 2)
			pass(g, Past, 1000)
		},
		"unguarded": func(g *Table) {
			g.cfg.FlowPackets = 0
			give(g, 1, 2)
			g.cfg.FlowPackets = 10
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newTable(t, nil)
			give(g, 1, 1)
			let(g)
			equal(t, verdicts(g), []int{1, 2})
			give(g, 1, 3)
			k := key(1)
			for n := range uint32(4) {
				g.Dropped(&k, n)
				g.Refused(g.find(&k), n)
			}
			equal(t, verdicts(g), nil)
			g.Begin(g.now, 2)
			g.Resolve(1)
			say(g, false)
			equal(t, verdicts(g), []int{3})
			g.Dropped(&k, 3) // that is alone
			give(g, 1, 4)
			equal(t, verdicts(g), []int{4})
		})
	}
}

// TestSeveralEpochs: what was released in an earlier epoch may be on its way
// longer than what was released in a later one.
func TestSeveralEpochs(t *testing.T) {
	g := newTable(t, nil)
	give(g, 1, 1, 2)
	g.Begin(g.now, 2)
	pass(g, Past, 1000)
	g.Begin(g.now, 3)
	give(g, 1, 3)
	g.Begin(g.now, 4)
	pass(g, Past, 1000)
	give(g, 1, 4)
	equal(t, verdicts(g), []int{1, 2, 3})
	for _, epoch := range []uint64{2, 4, 1} {
		g.Begin(g.now, 10)
		g.Resolve(epoch)
		say(g, false)
		equal(t, verdicts(g), nil)
	}
	g.Resolve(3)
	say(g, false)
	equal(t, verdicts(g), []int{4})
}

func TestJoin(t *testing.T) {
	g := newTable(t, nil)
	give(g, 1, 1, 2)
	g.Begin(g.now, 2)
	give(g, 2, 3, 4)
	g.Begin(g.now, 70)
	verdicts(g)
	g.Join(2, 1)
	g.Begin(g.now, 66) // the place of epoch 2
	give(g, 3, 5, 6)
	equal(t, verdicts(g), []int{5})
	g.Begin(g.now, 71)
	g.Resolve(66)
	say(g, false)
	equal(t, verdicts(g), []int{6})
	g.Resolve(1)
	say(g, false)
	say(g, false)
	equal(t, verdicts(g), []int{2, 4})
}

// TestResolveOfALaterEpochInTheSamePlace: a table that had nothing to do with it
// may hear of that one only.
func TestResolveOfALaterEpochInTheSamePlace(t *testing.T) {
	g := newTable(t, nil)
	give(g, 1, 1)
	verdicts(g)
	g.Resolve(1 + EpochsKept)
	give(g, 1, 2)
	equal(t, verdicts(g), []int{2})
	g.Begin(g.now, 1+2*EpochsKept)
	give(g, 2, 3)
	g.Resolve(1)
	give(g, 2, 4)
	equal(t, verdicts(g), []int{3})
}

func TestRefused(t *testing.T) {
	g := newTable(t, nil)
	give(g, 1, 1, 2, 3)
	k := key(1)
	i := g.find(&k)
	if f := g.Verdicts[0].First; f != i {
		t.Fatalf("the verdict says flow %d, want %d", f, i)
	}
	verdicts(g)
	g.Refused(i, 77) // not the first
	equal(t, verdicts(g), nil)
	g.Refused(i, 1)
	equal(t, verdicts(g), []int{2})
	g.Refused(i, 1)
	g.Refused(none, 5)
	g.Refused(1000, 5)
	equal(t, verdicts(g), nil)
	g.Refused(i, 2)
	equal(t, verdicts(g), []int{3})
	g.Refused(i, 3) // nothing is held: the next packet is a first one
	give(g, 1, 4)
	equal(t, verdicts(g), []int{4})
	if c := g.Counters; c.Vanished != 7 || c.Gone != 2 {
		t.Errorf("counted %+v", c)
	}
}

func TestAnnounced(t *testing.T) {
	g := newTable(t, nil)
	give(g, 1, 1, 2)
	soon(g)
	say(g, true)
	equal(t, verdicts(g), []int{1, 2})
	give(g, 1, 3) // conntrack's answer counts
	equal(t, verdicts(g), []int{3})
	g.Packet(&Packet{Key: key(1), ID: 1, Queue: 1, Print: 4, Announced: true})
	if v := g.Verdicts[0]; v.Queue != 1 || !v.Accept {
		t.Errorf("verdict %+v", v)
	}
	verdicts(g)
	give(g, 1, 5)
	equal(t, verdicts(g), nil)
	soon(g)
	say(g, true)
	equal(t, verdicts(g), []int{5})
	if c := g.Counters; c.Announced != 1 || c.Passed != 1 || c.Confirmed != 2 {
		t.Errorf("counted %+v", c)
	}
}

func TestComesAgain(t *testing.T) {
	for name, tt := range map[string]struct {
		changed, after int64 // milliseconds
		print          uint32
		again          bool
	}{
		"at once":                {0, 0, 1, true},
		"later":                  {0, 19, 1, true},
		"too late":               {0, 20, 1, false},
		"another packet":         {0, 0, 2, false},
		"rules changed long ago": {-3, 0, 1, false},
		"rules just changed":     {-1, 0, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			g := newTable(t, nil)
			g.ChainAdded(g.now + tt.changed*ms)
			give(g, 1, 1, 9)
			at(g, tt.after)
			g.Packet(&Packet{Key: key(1), ID: 3, Print: tt.print})
			want := []int{1}
			if tt.again {
				want = []int{1, 3}
			}
			equal(t, verdicts(g), want)
			if (g.Counters.Reentered == 1) != tt.again {
				t.Errorf("counted %+v", g.Counters)
			}
			soon(g)
			say(g, true)
			if g.Held() != 0 {
				t.Errorf("%d held", g.Held())
			}
		})
	}
}

func TestUnanswered(t *testing.T) {
	g := newTable(t, nil)
	give(g, 1, 1, 2)
	g.Begin(g.now, 2)
	g.Resolve(1)
	q := make([]Question, 4)
	if g.Questions(q) != 1 {
		t.Fatal("not asked")
	}
	g.Unanswered(q[0].Flow) // proves nothing
	equal(t, verdicts(g), []int{1})
	at(g, 100)
	if say(g, false) != 1 {
		t.Fatal("not asked again")
	}
	equal(t, verdicts(g), []int{2})
}
