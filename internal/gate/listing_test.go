package gate

import (
	"slices"
	"testing"
)

// confirmed makes a flow that has sent four packets and that conntrack has.
func confirmed(g *Table, flow byte) {
	give(g, flow, 1, 2, 3, 4)
	say(g, true)
	verdicts(g)
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
	for i := range uint32(3) { // its element has expired: it comes again, and counts from the beginning
		at(g, 100+10*int64(i))
		give(g, 1, 10+i)
		say(g, true)
	}
	if len(g.Listed) != 0 {
		t.Errorf("listed again after three packets")
	}
	at(g, 200)
	give(g, 1, 20)
	at(g, 206)
	say(g, true)
	if len(g.Listed) != 1 {
		t.Errorf("not listed again after four")
	}
}

func TestWhatIsNotListed(t *testing.T) {
	for name, do := range map[string]func(g *Table){
		"unknown to conntrack": func(g *Table) {
			confirmed(g, 1)
			at(g, 5)
			say(g, false)
		},
		"three packets": func(g *Table) {
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
