package gate

import "testing"

// confirmed makes a flow that has sent as many packets as it takes to be listed,
// that conntrack has, and whose packets have arrived.
func confirmed(g *Table, flow byte) {
	send(g, flow, listAfter)
	arrive(g)
	say(g, true)
	verdicts(g)
}

// send hands a table so many packets of a flow.
func send(g *Table, flow byte, packets int) {
	for range packets {
		give(g, flow, uint32(g.Counters.Received+1))
	}
}

// arrive ends the present epoch: all that was released has arrived.
func arrive(g *Table) {
	ended := g.epoch
	g.Begin(g.now, ended+1)
	g.Resolve(ended)
}

func TestQuietFlowsAreListed(t *testing.T) {
	g := newTable(t, nil)
	confirmed(g, 1) // it is released at 0.2 ms
	at(g, 4)
	say(g, true)
	if len(g.Listed) != 0 {
		t.Fatal("listed before it paused")
	}
	if d := g.Wait(); d != 5*ms-(4*ms+dueFirst) {
		t.Errorf("the wait is %d, want the rest of 5 ms", d)
	}
	at(g, 5)
	if say(g, true) != 0 || len(g.Listed) != 0 || !g.Pending() {
		t.Fatal("listed while packets of it are on their way; or nobody waits for them")
	}
	arrive(g)
	if g.Pending() {
		t.Error("somebody waits, but all has arrived")
	}
	at(g, 11)
	if n := say(g, true); n != 1 {
		t.Fatalf("%d questions, want 1", n)
	}
	if len(g.Listed) != 1 || g.Listed[0].Tuple != key(1) || g.Listed[0].Touched() || g.Counters.Listed != 1 {
		t.Fatalf("listed %+v, want flow 1; counted %+v", g.Listed, g.Counters)
	}
	g.Listed = g.Listed[:0]
	for i := range int64(listAfter - 1) { // its element has expired: it comes again, and counts from the beginning
		at(g, 300+10*i)
		send(g, 1, 1)
		arrive(g)
		say(g, true)
		arrive(g)
	}
	at(g, 700)
	if say(g, true); len(g.Listed) != 0 {
		t.Errorf("listed again one packet too early")
	}
	send(g, 1, 1)
	arrive(g)
	at(g, 706)
	say(g, true)
	if len(g.Listed) != 1 {
		t.Errorf("not listed again")
	}
}

func TestWhatIsNotListed(t *testing.T) {
	for name, do := range map[string]func(g *Table){
		"unknown to conntrack": func(g *Table) {
			confirmed(g, 1)
			arrive(g)
			at(g, 6)
			say(g, false)
		},
		"a packet too few": func(g *Table) {
			send(g, 1, listAfter-1)
			say(g, true)
			arrive(g)
			at(g, 20)
			say(g, true)
		},
		"goes on sending": func(g *Table) {
			confirmed(g, 1)
			for i := range int64(50) {
				at(g, 4*i)
				send(g, 1, 1)
				arrive(g)
				say(g, true)
			}
		},
		"holds packets": func(g *Table) {
			confirmed(g, 1)
			at(g, 20)
			send(g, 1, 2)
			for i := range int64(5) {
				at(g, 20+10*i)
				say(g, false)
			}
		},
		"is on its way": func(g *Table) {
			confirmed(g, 1)
			for i := range int64(50) {
				at(g, 20*i)
				say(g, true)
			}
		},
		"what was let go as a second one is on its way": func(g *Table) {
			confirmed(g, 1)
			arrive(g)
			at(g, 20)
			send(g, 1, 2)
			g.Begin(g.now, g.epoch+1)
			g.Try()
			g.Begin(g.now, g.epoch+1)
			g.Resolve(g.epoch - 2)
			at(g, 40)
			for say(g, true) > 0 {
				at(g, 60)
			}
		},
		"listing is off": func(g *Table) {
			g.SetListing(false)
			confirmed(g, 1)
			arrive(g)
			at(g, 20)
			say(g, true)
		},
		"listing ends": func(g *Table) {
			confirmed(g, 1)
			arrive(g)
			g.SetListing(false)
			at(g, 20)
			say(g, true)
		},
		"another zone": func(g *Table) {
			k := key(1)
			FlowKey(&k, 3)
			for id := range uint32(2 * listAfter) {
				g.Packet(&Packet{Key: k, ID: id, Print: id})
			}
			say(g, true)
			arrive(g)
			at(g, 20)
			say(g, true)
		},
		"forgotten": func(g *Table) {
			confirmed(g, 1)
			at(g, 2100)
			g.Forget()
			if g.Flows() != 0 {
				panic("not forgotten")
			}
			say(g, true)
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newTable(t, nil)
			do(g)
			if len(g.Listed) != 0 {
				t.Errorf("listed %+v", g.Listed)
			}
		})
	}
}

// TestTouched: a listing is void once a packet of its flow has come, however late
// that is, or when nobody remembers the flow.
func TestTouched(t *testing.T) {
	for name, tt := range map[string]struct {
		do      func(g *Table)
		touched bool
		counted uint64
	}{
		"nothing comes": {func(g *Table) { at(g, 1000) }, false, 0},
		"a packet":      {func(g *Table) { send(g, 1, 1) }, true, 1},
		"late": {func(g *Table) {
			at(g, 500)
			send(g, 1, 1)
		}, true, 0},
		"of another flow": {func(g *Table) { send(g, 2, 1) }, false, 0},
		"forgotten": {func(g *Table) {
			at(g, 3000)
			g.Forget()
		}, true, 0},
		"its place is another flow's, which is listed": {func(g *Table) {
			for flow := byte(2); g.find(&g.flows[0].key) == 0 && flow < 100; flow++ {
				confirmed(g, flow)
				arrive(g)
				at(g, 20*int64(flow))
				say(g, true)
			}
		}, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			g := newTable(t, func(c *Config) { c.Flows = 4 })
			confirmed(g, 1)
			arrive(g)
			at(g, 10)
			if say(g, true); len(g.Listed) != 1 {
				t.Fatal("not listed")
			}
			l := g.Listed[0]
			tt.do(g)
			if l.Touched() != tt.touched || g.Counters.Touched != tt.counted {
				t.Errorf("touched %v, want %v; counted %+v", l.Touched(), tt.touched, g.Counters)
			}
		})
	}
}

// TestNobodyWaitsForWhatIsForgotten: a table with nothing to do lets its watcher
// sleep, be it that an epoch is never resolved.
func TestNobodyWaitsForWhatIsForgotten(t *testing.T) {
	g := newTable(t, nil)
	confirmed(g, 1)
	at(g, 20)
	if say(g, true); !g.Pending() {
		t.Fatal("nobody waits for the packets that are on their way")
	}
	at(g, 2500)
	g.Forget()
	if d := g.Wait(); g.Pending() || d >= 0 {
		t.Errorf("pending %v, wait %d", g.Pending(), d)
	}
}
