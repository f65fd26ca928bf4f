package census

import (
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"verdictd/internal/ct"
	"verdictd/internal/vocabulary"
)

// Config bounds a [Census]. The zero value works.
type Config struct {
	Flows   int // under way at the same time; 0: DefaultFlows. Each takes some 150 bytes.
	Talkers int // addresses with a count; 0: DefaultTalkers
}

// The defaults of a [Config].
const (
	DefaultFlows   = 1 << 18
	DefaultTalkers = 4096
)

// key is a flow: its tuple, and the kernel's number for the entry, as a tuple is used again. It holds no pointer, so
// that the garbage collector need not look into the table.
type key struct {
	src, dst     [16]byte
	sport, dport uint16
	icmp         uint16
	zone         uint16
	id           uint32
	protocol     vocabulary.Protocol
	family       uint8
}

func keyOf(e *ct.Event) key {
	o := &e.Orig
	zone := e.Zone
	if zone == 0 {
		zone = o.Zone
	}
	return key{
		src: o.Src.As16(), dst: o.Dst.As16(), sport: o.SrcPort, dport: o.DstPort,
		icmp: o.ICMPID ^ uint16(o.ICMPType)<<8 ^ uint16(o.ICMPCode), zone: zone, id: e.ID, protocol: o.Protocol,
		family: e.Family,
	}
}

// flow is one under way.
type flow struct {
	began   int64  // ns since 1970; 0: before anybody looked
	status  uint32 // the bits that events tell about
	reading uint32 // the last reading of the kernel's table, or the one under way at the last event
	fresh   bool   // known by the reading alone: its EventNew may be still to come
}

// told are the bits of an entry's status of which every change is an event.
const told = ct.StatusSeenReply | ct.StatusAssured

// Corrections are what a reading of the kernel's table had to put right after a loss: a lower bound of what was lost,
// as flows that began and ended meanwhile left no trace.
type Corrections struct {
	Readings uint64 `json:"readings"`
	New      uint64 `json:"new"`     // flows that had begun unseen
	Update   uint64 `json:"update"`  // flows that had changed unseen
	Destroy  uint64 `json:"destroy"` // flows that had ended unseen
}

// Census follows flows. It implements [ct.Resyncer].
type Census struct {
	max       int
	flows     map[key]flow
	talkers   *talkers
	lifetimes map[vocabulary.Protocol]*hdr.Histogram
	exact     uint64

	reading     uint32
	settled     bool // the table that was there in the beginning is known
	older       uint64
	olderEnded  uint64
	untracked   uint64
	corrections Corrections
}

// New makes an empty census.
func New(cfg Config) *Census {
	if cfg.Flows == 0 {
		cfg.Flows = DefaultFlows
	}
	if cfg.Talkers == 0 {
		cfg.Talkers = DefaultTalkers
	}
	return &Census{
		max: cfg.Flows, flows: make(map[key]flow), talkers: newTalkers(cfg.Talkers),
		lifetimes: make(map[vocabulary.Protocol]*hdr.Histogram),
	}
}

// Event takes an event that was received at a time.
func (c *Census) Event(e *ct.Event, at time.Time) {
	k := keyOf(e)
	f, known := c.flows[k]
	switch e.Type {
	case ct.EventNew:
		c.talkers.begin(e.Orig.Src)
		c.put(k, known, flow{began: at.UnixNano(), status: e.Status & told, reading: c.reading})
	case ct.EventUpdate:
		if known {
			f.status, f.reading = e.Status&told, c.reading
			c.flows[k] = f
		}
	case ct.EventDestroy:
		c.end(e, k, &f, known, at)
	}
}

// put keeps a flow, if there is room.
func (c *Census) put(k key, known bool, f flow) {
	if !known && len(c.flows) >= c.max {
		c.untracked++
		return
	}
	c.flows[k] = f
}

func (c *Census) end(e *ct.Event, k key, f *flow, known bool, at time.Time) {
	delete(c.flows, k)
	if e.Orig.HasCounts {
		c.talkers.end(e.Orig.Src, e.Orig.Packets+e.Reply.Packets, e.Orig.Bytes+e.Reply.Bytes)
	}
	const both = ct.HasStart | ct.HasStop
	switch {
	case e.Has&both == both && e.Stop >= e.Start:
		c.exact++
		c.lived(e.Orig.Protocol, time.Duration(e.Stop-e.Start))
	case known && f.began != 0:
		c.lived(e.Orig.Protocol, time.Duration(at.UnixNano()-f.began))
	default:
		c.olderEnded++
	}
}

// Bounds of what is told apart of lifetimes.
const (
	longest = 30 * 24 * time.Hour
	digits  = 2
)

func (c *Census) lived(p vocabulary.Protocol, d time.Duration) {
	h := c.lifetimes[p]
	if h == nil {
		h = hdr.New(1, longest.Microseconds(), digits)
		c.lifetimes[p] = h
	}
	// Within the bounds, so that it cannot fail.
	_ = h.RecordValue(min(max(d.Microseconds(), 1), longest.Microseconds()))
}

// Begin implements [ct.Resyncer].
func (c *Census) Begin() { c.reading++ }

// Entry implements [ct.Resyncer].
func (c *Census) Entry(e *ct.Event) {
	k := keyOf(e)
	f, known := c.flows[k]
	if !known {
		c.put(k, false, flow{status: e.Status & told, reading: c.reading, fresh: true})
		return
	}
	if f.status != e.Status&told && c.settled && !f.fresh {
		c.corrections.Update++
	}
	f.status, f.reading = e.Status&told, c.reading
	c.flows[k] = f
}

// Settled implements [ct.Resyncer].
func (c *Census) Settled() {
	for k, f := range c.flows {
		switch {
		case f.reading != c.reading:
			delete(c.flows, k)
			c.corrections.Destroy++
		case f.fresh && c.settled:
			c.corrections.New++
		case f.fresh:
			c.older++
		}
		if f.fresh && f.reading == c.reading {
			f.fresh = false
			c.flows[k] = f
		}
	}
	if c.settled {
		c.corrections.Readings++
	}
	c.settled = true
}
