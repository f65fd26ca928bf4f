package reassembly

import (
	"errors"
	"fmt"
)

// None is no buffer, and no owner.
const None int32 = -1

// maxPackets bounds Config.Packets, and so the pieces of a flow.
const maxPackets = 64

// Config are the bounds. All have to be set.
type Config struct {
	// Flows is the number of buffers, at most 1<<20.
	Flows int
	// Bytes is the length of each, at most 1<<20. All of them together are reserved at
	// once; the kernel gives memory as it is written to.
	Bytes int
	// Packets is how many packets may bring pieces of one flow, at most 64.
	Packets int
	// Age is how long a buffer may be kept, in nanoseconds.
	Age int64
}

func (c Config) validate() error {
	var problems []error
	within := func(what string, n, most int) {
		if n < 1 || n > most {
			problems = append(problems, fmt.Errorf("reassembly: %d %s: has to be 1 to %d", n, what, most))
		}
	}
	within("flows", c.Flows, 1<<20)
	within("bytes", c.Bytes, 1<<20)
	within("packets", c.Packets, maxPackets)
	if c.Age <= 0 {
		problems = append(problems, fmt.Errorf("reassembly: age %d: has to be above 0", c.Age))
	}
	return errors.Join(problems...)
}

// Counters only grow.
type Counters struct {
	Opened    uint64
	Evicted   uint64 // for want of buffers
	Expired   uint64
	Conflicts uint64 // packets with bytes that were there with other content
	Useless   uint64 // packets without a byte that was new and within the bounds
}

// span is a run of bytes that are there.
type span struct{ from, to int32 }

type flow struct {
	owner    int32
	packets  int32
	spans    int32
	conflict bool // bytes came twice, with different content
	since    int64
	span     [maxPackets]span // ascending, apart
}

// Pool has the buffers.
type Pool struct {
	cfg    Config
	memory []byte
	flows  []flow
	ages   *Ages
	used   int

	Counters Counters
}

// New makes a pool; all its memory at once.
func New(cfg Config) (*Pool, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &Pool{cfg: cfg, memory: make([]byte, cfg.Flows*cfg.Bytes), flows: make([]flow, cfg.Flows), ages: NewAges(cfg.Flows)}, nil
}

// Used is how many buffers are taken.
func (p *Pool) Used() int { return p.used }

// Open gives a buffer to owner, a number of the caller's. evicted is the owner that has
// lost its own by that, or None.
func (p *Pool) Open(owner int32, now int64) (buffer, evicted int32) {
	buffer, evicted = p.ages.Take(), None
	if buffer == None {
		oldest := p.ages.Oldest()
		evicted = p.flows[oldest].owner
		p.Counters.Evicted++
		p.Close(oldest)
		buffer = p.ages.Take()
	}
	f := &p.flows[buffer]
	f.owner, f.packets, f.spans, f.conflict, f.since = owner, 0, 0, false, now
	p.used++
	p.Counters.Opened++
	return buffer, evicted
}

// Close gives a buffer back.
func (p *Pool) Close(i int32) {
	p.ages.Give(i)
	p.flows[i].owner = None
	p.used--
}

// Old reports whether a buffer has been kept for too long.
func (p *Pool) Old(i int32, now int64) bool { return now-p.flows[i].since > p.cfg.Age }

// Expire closes the oldest buffer if it has been kept for too long, and returns its
// owner; else None. To be called until it does.
func (p *Pool) Expire(now int64) (owner int32) {
	oldest := p.ages.Oldest()
	if oldest == None || !p.Old(oldest, now) {
		return None
	}
	owner = p.flows[oldest].owner
	p.Counters.Expired++
	p.Close(oldest)
	return owner
}
