package gate

import (
	"slices"
	"testing"
)

// confirmed makes a flow that is worth its place in the set, and that conntrack has.
func confirmed(g *Table, flow byte) {
	for id := range uint32(listAfter) {
		give(g, flow, 1+id)
	}
	soon(g)
	say(g, true)
	verdicts(g)
	past(g)
}

// past ends the epoch and resolves it: what was released is past all queues.
func past(g *Table) {
	ended := g.epoch
	g.Begin(g.now, ended+1)
	g.Resolve(ended)
}

func TestQuietFlowsAreListed(t *testing.T) {
	g := newTable(t, nil)
	confirmed(g, 1)
	at(g, 4)
	say(g, true)
	if len(g.Listed) != 0 {
		t.Fatal("listed before it paused")
	}
	if d := g.Wait(); d != ms {
		t.Errorf("the wait is %d, want a millisecond", d)
	}
	at(g, 5)
	if n := say(g, true); n != 1 {
		t.Fatalf("%d questions, want 1", n)
	}
	if want := []Listing{{Flow: 0, Tuple: key(1)}}; !slices.Equal(g.Listed, want) || g.Counters.Listed != 1 {
		t.Fatalf("listed %x, want %x; counted %+v", g.Listed, want, g.Counters)
	}
	g.Listed = g.Listed[:0]
	for i := range uint32(listAfter) { // its element has expired: it comes again, and counts from the beginning
		if len(g.Listed) != 0 {
			t.Fatalf("listed again after %d packets", i)
		}
		at(g, 100+10*int64(i))
		give(g, 1, 20+i)
		soon(g)
		say(g, true)
		past(g)
	}
	at(g, 100+10*listAfter)
	say(g, true)
	if len(g.Listed) != 1 {
		t.Errorf("not listed again after %d packets", listAfter)
	}
}

// TestListedWhenNothingIsOnItsWay: in a queue that later packets do not take they would
// be overtaken.
func TestListedWhenNothingIsOnItsWay(t *testing.T) {
	g := newTable(t, nil)
	for id := range uint32(listAfter) {
		give(g, 1, 1+id)
	}
	soon(g)
	say(g, true)
	for i := range int64(5) {
		at(g, 20+10*i)
		if say(g, true); len(g.Listed) != 0 {
			t.Fatal("listed while its packets were on their way")
		}
		if !g.Pending() {
			t.Fatal("the end of the epoch is not waited for")
		}
	}
	past(g)
	at(g, 100)
	if say(g, true); len(g.Listed) != 1 {
		t.Error("not listed when its packets had arrived")
	}
}

// TestTouched: who lists a flow sees that it goes on sending meanwhile.
func TestTouched(t *testing.T) {
	g := newTable(t, nil)
	confirmed(g, 1)
	at(g, 10)
	say(g, true)
	if len(g.Listed) != 1 || g.Touched[g.Listed[0].Flow].Load() {
		t.Fatalf("listed %v", g.Listed)
	}
	give(g, 1, 50)
	if !g.Touched[g.Listed[0].Flow].Load() || g.Counters.Touched != 1 {
		t.Errorf("a packet came, and nobody is told; counted %+v", g.Counters)
	}
}

func TestWhatIsNotListed(t *testing.T) {
	for name, do := range map[string]func(g *Table){
		"unknown to conntrack": func(g *Table) {
			confirmed(g, 1)
			at(g, 5)
			say(g, false)
		},
		"one packet too few": func(g *Table) {
			give(g, 1, 1, 2, 3)
			say(g, true)
			at(g, 20)
			say(g, true)
		},
		"goes on sending": func(g *Table) {
			confirmed(g, 1)
			for i := range uint32(50) {
				at(g, 4*int64(i))
				give(g, 1, 10+i)
				say(g, true)
			}
		},
		"holds packets": func(g *Table) {
			confirmed(g, 1)
			at(g, 20)
			give(g, 1, 20, 21)
			for i := range int64(5) {
				at(g, 20+10*i)
				say(g, false)
			}
		},
		"listing is off": func(g *Table) {
			g.SetListing(false)
			confirmed(g, 1)
			at(g, 20)
			say(g, true)
		},
		"listing ends": func(g *Table) {
			confirmed(g, 1)
			g.SetListing(false)
			at(g, 20)
			say(g, true)
		},
		"another zone": func(g *Table) {
			k := key(1)
			FlowKey(&k, 3)
			for id := range uint32(6) {
				g.Packet(&Packet{Key: k, ID: id, Print: id})
			}
			say(g, true)
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
				t.Errorf("listed %x", g.Listed)
			}
		})
	}
}
