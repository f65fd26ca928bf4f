package gate

import (
	"testing"
	"time"

	"verdictd/internal/statistics"
)

const ms = int64(time.Millisecond)

// give hands a table packets of a flow, as many as ids, with prints like them.
func give(g *Table, flow byte, ids ...uint32) {
	for _, id := range ids {
		g.Packet(&Packet{Key: key(flow), ID: id, Print: id, Bytes: 100})
	}
}

// at lets time go on.
func at(g *Table, ms int64) { g.Begin(int64(time.Second)+ms*int64(time.Millisecond), g.epoch) }

// soon lets as much time go on as a flow is not asked for that holds packets.
func soon(g *Table) { g.Begin(g.now+dueFirst, g.epoch) }

// say lets that time go on, and answers all questions that are due then.
func say(g *Table, known bool) int {
	soon(g)
	return sayNow(g, known)
}

// sayNow answers all questions that are due, and returns how many.
func sayNow(g *Table, known bool) int {
	q := make([]Question, 64)
	n := g.Questions(q)
	for i := range n {
		g.Answer(q[i].Flow, known)
	}
	return n
}

func TestConfigIsChecked(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no flows":         func(c *Config) { c.Flows = 0 },
		"too many flows":   func(c *Config) { c.Flows = 1<<24 + 1 },
		"no packets":       func(c *Config) { c.FlowPackets = 0 },
		"too many packets": func(c *Config) { c.FlowPackets = 1<<16 + 1 },
		"no bytes":         func(c *Config) { c.Bytes = 0 },
		"no hold":          func(c *Config) { c.Hold = 0 },
		"limit below hold": func(c *Config) { c.HoldLimit = c.Hold - 1 },
	} {
		cfg := Default()
		change(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := New(Default()); err != nil {
		t.Error(err)
	}
}

// TestBounds: over a bound all of the flow go on, in order, and are counted.
func TestBounds(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*Config)
		count  func(c *statistics.Flows) uint64
	}{
		"packets of a flow": {func(c *Config) { c.FlowPackets = 2 }, func(c *statistics.Flows) uint64 { return c.UnguardedPackets }},
		"bytes":             {func(c *Config) { c.Bytes = 2 * (100 + packetOverhead) }, func(c *statistics.Flows) uint64 { return c.UnguardedBytes }},
	} {
		t.Run(name, func(t *testing.T) {
			g := newTable(t, tt.change)
			give(g, 1, 1, 2, 3)
			equal(t, verdicts(g), []int{1})
			give(g, 1, 4)
			equal(t, verdicts(g), []int{2, 3, 4})
			if c := &g.Counters; tt.count(c) != 3 || c.Unguarded != 3 || c.Held != 2 || c.MaxHeld != 2 || c.MaxBytes != 2*(100+packetOverhead) {
				t.Errorf("counted %+v", *c)
			}
			if g.Held() != 0 || g.HeldBytes() != 0 {
				t.Errorf("%d packets, %d bytes are held", g.Held(), g.HeldBytes())
			}
			give(g, 1, 5) // the flow is pending still
			equal(t, verdicts(g), nil)
		})
	}
}

// TestOneFlowTakesAllBytes: others go on unguarded and none waits behind it.
func TestOneFlowTakesAllBytes(t *testing.T) {
	g := newTable(t, func(c *Config) { c.Bytes = 2 * (100 + packetOverhead) })
	give(g, 1, 1, 2, 3)
	give(g, 2, 4, 5)
	equal(t, verdicts(g), []int{1, 4, 5})
	if g.Held() != 2 || g.Counters.UnguardedBytes != 1 {
		t.Errorf("%d held, counted %+v", g.Held(), g.Counters)
	}
}

func TestFlowsAreForgotten(t *testing.T) {
	g := newTable(t, func(c *Config) { c.Flows = 4 })
	for flow := range byte(4) {
		give(g, flow, uint32(flow)+1)
	}
	give(g, 9, 9) // all are pending
	if c := g.Counters; c.UnguardedFlows != 1 || c.MaxFlows != 4 || g.Flows() != 4 {
		t.Fatalf("%d flows, counted %+v", g.Flows(), c)
	}
	g.Begin(g.now, 2)
	give(g, 0, 10) // held
	g.Resolve(1)   // flow 0 holds a packet; the others are open
	give(g, 9, 11)
	if c := g.Counters; c.UnguardedFlows != 1 || g.Flows() != 4 {
		t.Fatalf("%d flows, counted %+v", g.Flows(), c)
	}
	at(g, 2001+1000)
	g.Forget()
	if g.Flows() != 2 { // those that are pending
		t.Errorf("%d flows are remembered, want 2", g.Flows())
	}
}

// TestPendingFlowsDoNotFillTheTable: an open flow gives its place up, however many
// pending ones are older.
func TestPendingFlowsDoNotFillTheTable(t *testing.T) {
	g := newTable(t, func(c *Config) { c.Flows = 101 })
	for flow := range byte(100) {
		give(g, flow, uint32(flow)+1)
	}
	g.Begin(g.now, 2)
	give(g, 100, 200, 201)
	say(g, false)
	g.Moved(1)
	if say(g, true) != 1 {
		t.Fatal("not asked")
	}
	give(g, 101, 300)
	if c := g.Counters; c.UnguardedFlows != 0 || g.Flows() != 101 {
		t.Errorf("%d flows, counted %+v", g.Flows(), c)
	}
}

func TestExempt(t *testing.T) {
	g := newTable(t, nil)
	g.Exempt(7, 3)
	if v := g.Verdicts; len(v) != 1 || v[0] != (Verdict{ID: 7, Queue: 3, Accept: true, First: none}) {
		t.Errorf("verdicts %+v", v)
	}
	if c := g.Counters; c.Received != 1 || c.Exempt != 1 || g.Flows() != 0 {
		t.Errorf("counted %+v", c)
	}
}

func TestDrain(t *testing.T) {
	g := newTable(t, nil)
	give(g, 1, 1, 2, 3)
	give(g, 2, 4, 5)
	verdicts(g)
	if n := g.Drain(); n != 3 || g.Held() != 0 {
		t.Errorf("%d drained, %d held", n, g.Held())
	}
	equal(t, verdicts(g), []int{2, 3, 5})
}
