package gate

import (
	"errors"
	"time"
)

// Config bounds a Table and times it. Zero values are not replaced: Default has
// those that the daemon uses.
type Config struct {
	// Drop further packets of pending flows instead of holding them, but for those of
	// flows of which nobody knows whether one has passed before (Darken).
	Drop bool
	// Flows that are remembered, FlowPackets held of one flow, and Bytes held of
	// all. Beyond a bound packets go on unguarded.
	Flows, FlowPackets int
	Bytes              int64
	// Hold is how long packets of a flow are held at most while no queue has packets
	// that were released, HoldLimit in all, counted from its first held one.
	Hold, HoldLimit time.Duration
	// List flows in the settled set.
	List bool
	// Journal has the packets that are held for a process that goes on with the gate; nil:
	// there is none. Its length is how many can be held.
	Journal []Record
}

const (
	// trust is how long conntrack's answer counts. Within it an entry may be
	// deleted unseen (conntrack -F), and a burst then clashes.
	trust = int64(10 * time.Millisecond)
	// quiet is how long a flow must have paused before it is listed: a multiple of
	// the time that the gate takes for a packet, so that no packet of it waits in
	// the gate when the kernel begins to let later ones pass.
	quiet = int64(5 * time.Millisecond)
	// listAfter packets a flow is worth its two elements in the settled set.
	listAfter = 16
	// listedJustNow is the time in which packets of a flow come to the gate that was
	// handed over to be listed, on a machine that has far too much to do.
	listedJustNow = int64(250 * time.Millisecond)
	// remember is how long an open flow is remembered, to count its packets.
	remember = int64(2 * time.Second)
	// secondWait is how long packets are held where the judging program is known
	// to want a second packet before it judges the first.
	secondWait = int64(5 * time.Millisecond)
	// reentry bounds the time from the release of a packet to its coming again, and
	// changeTold how long before a packet came a base chain may have been told that
	// was added while it waited: packets wait in the socket for a moment.
	reentry    = int64(20 * time.Millisecond)
	changeTold = int64(2 * time.Millisecond)
	// packetOverhead is what the kernel needs for a held packet besides its bytes:
	// struct sk_buff and struct nf_queue_entry.
	packetOverhead = 512
)

// Configure has packets meet other settings from now on: Drop, FlowPackets, Hold,
// HoldLimit and List. The rest is the table's memory, which stays.
func (t *Table) Configure(c *Config) {
	t.cfg.Drop, t.cfg.FlowPackets, t.cfg.Hold, t.cfg.HoldLimit, t.cfg.List = c.Drop, c.FlowPackets, c.Hold, c.HoldLimit, c.List
}

// Default is a table as the daemon has it.
func Default() Config {
	return Config{
		Flows: 1 << 16, FlowPackets: 256, Bytes: 64 << 20,
		Hold: time.Second, HoldLimit: 30 * time.Second, List: true,
	}
}

func (c *Config) validate() error {
	switch {
	case c.Flows < 1 || c.Flows > 1<<24:
		return errors.New("gate: flows must be from 1 to 16777216")
	case c.FlowPackets < 1 || c.FlowPackets > 1<<16:
		return errors.New("gate: held packets of a flow must be from 1 to 65536")
	case c.Bytes < 1:
		return errors.New("gate: held bytes must be above 0")
	case c.Hold <= 0 || c.HoldLimit < c.Hold:
		return errors.New("gate: hold must be above 0 and hold_limit not below it")
	}
	return nil
}
