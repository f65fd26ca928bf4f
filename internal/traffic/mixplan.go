package traffic

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"
)

// Bounds of what a mixed flow may be.
const (
	mixPackets = 16 // a flow
	mixThreads = 2  // that share a flow at most

	mixMaxGap   = 200 * time.Millisecond
	mixMinPause = 1100 * time.Millisecond
	mixMaxPause = 3 * time.Second

	mixSmallest = HeaderSize
	mixLargest  = 1400
	mixOversize = 4000 // bytes of the longest payload; from the MTU of Ethernet on

	// mixMaxReuse is how long after its end a flow's source port may be used again.
	mixMaxReuse = 3 * time.Second
)

// mixFlow is one flow as it is planned.
type mixFlow struct {
	id      uint32
	target  int // index in the configuration
	source  netip.AddrPort
	start   time.Duration // since the start of the run
	packets []mixPacket   // ascending in time
	reused  bool
	paused  bool
}

// mixPacket is one packet. Lane says which of the flow's threads sends it, as the seq-th of its own.
type mixPacket struct {
	at   time.Duration // since the start of the run
	lane uint16
	seq  uint16
	size int
}

func (f *mixFlow) end() time.Duration { return f.packets[len(f.packets)-1].at }

// mixPlan draws flows, in the order of their starts. The same configuration gives the same flows.
type mixPlan struct {
	cfg    *MixConfig
	random *rand.Rand
	fresh  [2]*tuples // ports that were never used, by family
	used   [][]usedPort
	now    time.Duration
	next   uint32
}

// usedPort is a source that a flow to the same target had.
type usedPort struct {
	source netip.AddrPort
	free   time.Duration
}

func newMixPlan(cfg *MixConfig) *mixPlan {
	p := &mixPlan{cfg: cfg, random: rand.New(rand.NewPCG(cfg.Seed, 2)), used: make([][]usedPort, len(cfg.Targets))}
	for i, sources := range [2][]netip.Addr{cfg.Sources4, cfg.Sources6} {
		if len(sources) > 0 {
			p.fresh[i] = newTuples(sources, 0, PortsShuffled, cfg.Seed+uint64(i))
		}
	}
	return p
}

// flow is the next one; false when it would start after the end of the run, or no port is left.
func (p *mixPlan) flow() (*mixFlow, bool) {
	p.now += time.Duration(p.random.ExpFloat64() / p.cfg.Rate * float64(time.Second))
	if p.now >= p.cfg.Duration || int(p.next) >= p.cfg.capacity() {
		return nil, false
	}
	f := &mixFlow{id: p.next, target: p.random.IntN(len(p.cfg.Targets)), start: p.now}
	if !p.take(f) {
		return nil, false
	}
	p.next++
	p.draw(f)
	hold := time.Duration(0)
	if p.cfg.Targets[f.target].Echo {
		hold = p.cfg.hold()
	}
	p.used[f.target] = append(p.used[f.target],
		usedPort{f.source, f.end() + hold + time.Duration(p.random.Int64N(int64(mixMaxReuse)))})
	return f, true
}

// take gives the flow a source: that of an earlier flow to its target whose time has come, or a fresh one.
func (p *mixPlan) take(f *mixFlow) bool {
	used := p.used[f.target]
	i := slices.IndexFunc(used, func(u usedPort) bool { return u.free <= f.start })
	if i >= 0 && p.random.IntN(2) == 0 {
		f.source, f.reused = used[i].source, true
		p.used[f.target] = slices.Delete(used, i, i+1)
		return true
	}
	family := 0
	if p.cfg.Targets[f.target].Address.Addr().Is6() {
		family = 1
	}
	var ok bool
	f.source, ok = p.fresh[family].take()
	return ok
}

// draw fills in the packets. What is due after the end of the run is left out.
func (p *mixPlan) draw(f *mixFlow) {
	n := 1 + p.random.IntN(mixPackets)
	eager := []float64{1, 0.9, 0.5, 0}[p.random.IntN(4)] // how many packets follow the one before at once
	pause := 0
	if n > 1 && p.random.IntN(8) == 0 {
		pause = 1 + p.random.IntN(n-1)
	}
	lane, shared := uint16(p.random.IntN(mixThreads)), p.random.IntN(3) == 0
	var seq [mixThreads]uint16
	at := f.start
	for i := range n {
		switch {
		case i == 0:
		case i == pause:
			at += mixMinPause + time.Duration(p.random.Int64N(int64(mixMaxPause-mixMinPause)))
		case p.random.Float64() >= eager:
			at += p.gap()
		}
		if i > 0 && at >= p.cfg.Duration {
			return
		}
		if shared {
			lane = uint16(p.random.IntN(mixThreads))
		}
		f.paused = f.paused || i == pause && i > 0
		f.packets = append(f.packets, mixPacket{at: at, lane: lane, seq: seq[lane], size: p.size()})
		seq[lane]++
	}
}

// gap is as often between 10 and 100 microseconds as between 10 and 100 milliseconds.
func (p *mixPlan) gap() time.Duration {
	const shortest = 10 * time.Microsecond
	return time.Duration(float64(shortest) * math.Pow(float64(mixMaxGap)/float64(shortest), p.random.Float64()))
}

func (p *mixPlan) size() int {
	const etherMTU = 1500
	if p.random.IntN(16) == 0 {
		return etherMTU + p.random.IntN(mixOversize-etherMTU+1)
	}
	return mixSmallest + p.random.IntN(mixLargest-mixSmallest+1)
}
