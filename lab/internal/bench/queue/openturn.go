package queue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"verdictd/internal/netlab"
	"verdictd/internal/nfq"
	"verdictd/lab/internal/bench"
	"verdictd/lab/internal/testbed"
)

// LatencyConfig says at which rates packets are sent, and through what.
type LatencyConfig struct {
	Rounds int
	// Rates are packets a second; Loads are parts of what each program can do at most.
	Rates, Loads []float64
	Duration     time.Duration // of each rate's turn
	Payload      int           // bytes
	Queues       int
	Only         []string
	Reference    string
	Require      string
}

// openVariants are what is compared: the way without a queue first.
var openVariants = []variant{
	{base: "none", program: nothing, guard: guardOff},
	{base: floorVariant, program: floor, guard: guardOff},
	{base: "c", program: library, guard: guardOff},
	{base: "mmsg", guard: guardOff},
	{base: "mmsg+hold", guard: guardHold, metrics: true},
	{base: "mmsg+fail_open", guard: guardOff, failOpen: true},
	{base: "gonfqueue", program: gonfqueue, guard: guardOff},
}

// LatencyNames are the variants, in their order.
func LatencyNames() []string { return names(openVariants) }

// best stands for the other program that does most at a rate, in ratios of goodput.
const best = "best"

// isOther says whether a variant is none of verdictd's.
func isOther(v *variant) bool { return v.program == floor || v.program == library }

// Validate says all that is wrong.
func (c *LatencyConfig) Validate() error {
	_, err := bench.ParseRequirements(c.Require, c.figureNames())
	errs := []error{err, bench.KnownOnly(c.Only, LatencyNames()), testbed.Within("--rounds", c.Rounds, 1, 1000),
		testbed.Within("--payload", c.Payload, stampSize, 1472), testbed.Within("--queues", c.Queues, 1, 64)}
	for _, rate := range c.Rates {
		if !(rate >= 10 && rate <= 5e6) {
			errs = append(errs, fmt.Errorf("--rate %g: packets a second, 10 to 5000000", rate))
		}
	}
	for _, load := range c.Loads {
		if !(load > 0 && load <= 4) {
			errs = append(errs, fmt.Errorf("--load %g: a part of the program's capacity, above 0 and at most 4", load))
		}
	}
	if c.Duration < 100*time.Millisecond || c.Duration > time.Minute {
		errs = append(errs, fmt.Errorf("--duration %v: 100ms to 1m", c.Duration))
	}
	return errors.Join(errs...)
}

// RunLatency gives every program its turn in every round, at every rate.
func RunLatency(ctx context.Context, t *testbed.Testbed, c *LatencyConfig, w io.Writer) (*LatencyResult, error) {
	required, err := bench.ParseRequirements(c.Require, c.figureNames())
	if err != nil {
		return nil, err
	}
	const capacityPackets = 50_000
	b := &comparison{
		Programs: t.Programs, reference: c.Reference, window: usualWindow, payload: c.Payload,
		packets: capacityPackets, queues: c.Queues, cpus: t.CPUs,
	}
	r := &LatencyResult{Head: bench.NewHead[openSample](t.Version, t.Host, latencySettings{
		Rounds: c.Rounds, Rates: c.Rates, Loads: c.Loads, Seconds: c.Duration.Seconds(), Flows: settledFlows,
		Payload: c.Payload, Queues: c.Queues, QueueLength: (&conditions{window: b.window}).maxLength(), LoadCPU: b.loadCPU(), DaemonCPU: b.daemonCPU(),
	})}
	missing := bench.LeftOut(LatencyNames(), c.Only, func(i int) error { return b.canRun(&openVariants[i]) })
	r.Samples, err = bench.Rounds(ctx, 1, c.Rounds, LatencyNames(), missing, w,
		func(i, round int, dir string) openSample { return b.measureOpen(ctx, c, &openVariants[i], round, dir) })
	if err != nil {
		return nil, err
	}
	r.Interrupted = ctx.Err() != nil
	r.judge(c, required, missing)
	return r, nil
}

// measureOpen is one variant's turn.
func (b *comparison) measureOpen(ctx context.Context, c *LatencyConfig, v *variant, round int, dir string) openSample {
	s := openSample{Round: round, Variant: v.name()}
	err := b.with(ctx, v, dir, func(ctx context.Context, ns *netlab.NetNS, daemons []*testbed.Process,
		_ string) error {
		return bench.OnCPU(b.loadCPU(), func() error {
			return ns.Do(func() error { return b.atRates(ctx, c, &openTurn{b.under(v), v, ns, daemons}, &s) })
		})
	})
	if err != nil {
		s.Invalid = err.Error()
	}
	return s
}

// An openTurn is what judges while packets are sent at rates.
type openTurn struct {
	conditions
	v       *variant
	ns      *netlab.NetNS
	daemons []*testbed.Process
}

// atRates finds out what the program can do, and then sends at each rate.
func (b *comparison) atRates(ctx context.Context, c *LatencyConfig, t *openTurn, s *openSample) (err error) {
	target, sources := t.addresses()
	if t.v.program != nothing {
		if s.Capacity, err = b.capacity(ctx, target, sources); err != nil {
			return fmt.Errorf("find out the capacity: %w", err)
		}
	}
	l, err := openPaced(target, sources, b.payload)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	// New sockets are new flows: they settle, as those before have.
	if err := l.send(ctx, 400, 400, 0); err != nil {
		return err
	}
	queueOf, err := t.queuesOfFlows(ctx, l)
	if err != nil {
		return err
	}
	turn := uint32(0)
	for _, at := range c.points() {
		rate := at.rate
		if at.load > 0 {
			if rate = at.load * s.Capacity; rate == 0 {
				continue
			}
		}
		turn++
		p, err := t.atRate(ctx, l, rate, c.Duration, turn)
		if err != nil {
			return fmt.Errorf("%s: %w", at.name(), err)
		}
		p.Name, p.QueueFairness = at.name(), l.queueFairness(queueOf)
		s.Points = append(s.Points, p)
	}
	return nil
}

// queuesOfFlows finds out which queue each flow goes through: one packet of each, and whose number has grown. It is nil
// where that does not matter.
func (t *openTurn) queuesOfFlows(ctx context.Context, l *pacedLoad) ([]int, error) {
	if t.v.program == nothing || t.queues == 1 {
		return nil, nil
	}
	seen := func() ([]uint32, error) {
		had := make([]uint32, t.queues)
		return had, t.ns.Do(func() error {
			queues, err := nfq.ReadKernelQueues()
			for _, q := range queues {
				if int(q.Queue) < t.queues {
					had[q.Queue] = q.IDSequence
				}
			}
			return err
		})
	}
	queueOf := make([]int, len(l.flows))
	for range l.flows {
		before, err := seen()
		if err != nil {
			return nil, err
		}
		flow := l.next
		if err := l.send(ctx, 400, 1, 0); err != nil {
			return nil, err
		}
		after, err := seen()
		if err != nil {
			return nil, err
		}
		for queue := range after {
			if after[queue] != before[queue] {
				queueOf[flow] = queue
			}
		}
	}
	return queueOf, nil
}

// capacity is how many packets a second come through where as many are under way as the program likes.
func (b *comparison) capacity(ctx context.Context, target netip.AddrPort, sources []netip.Addr) (perSecond float64,
	err error) {
	l, err := openLoad(target, sources, b.window, b.payload)
	if err != nil {
		return 0, err
	}
	turn := &settledTurn{l, b.packets}
	defer func() { err = errors.Join(err, turn.Close()) }()
	if err := turn.warmUp(ctx); err != nil {
		return 0, err
	}
	begun := time.Now()
	packets, err := turn.run(ctx)
	return float64(packets) / time.Since(begun).Seconds(), err
}

// atRate sends for a while, and says what became of it.
func (t *openTurn) atRate(ctx context.Context, l *pacedLoad, rate float64, d time.Duration, turn uint32) (p point,
	err error) {
	before, err := kernelCount(t.ns, t.queues)
	if err != nil {
		return p, err
	}
	if p.RSSBefore, err = readRSS(t.daemons); err != nil {
		return p, err
	}
	lostBefore, err := l.socketDrops()
	if err != nil {
		return p, err
	}
	p.Rate, p.Sent = rate, max(1, int(rate*d.Seconds()))
	if err := l.send(ctx, rate, p.Sent, turn); err != nil {
		return p, err
	}
	after, err := kernelCount(t.ns, t.queues)
	if err != nil {
		return p, err
	}
	if p.RSSAfter, err = readRSS(t.daemons); err != nil {
		return p, err
	}
	lost, err := l.socketDrops()
	if err != nil {
		return p, err
	}
	p.Sent, p.Arrived = l.sent, len(l.waits)
	p.QueueDropped, p.UserDropped = after.QueueDropped-before.QueueDropped, after.UserDropped-before.UserDropped
	p.SocketDropped = lost - lostBefore
	p.Unexplained = p.Sent - p.Arrived - int(p.QueueDropped+p.UserDropped+p.SocketDropped)
	if l.took > 0 {
		p.Goodput = float64(p.Arrived) / (float64(l.took) / 1e9)
	}
	p.P50, p.P99, p.P999, p.Max = l.quantile(0.5), l.quantile(0.99), l.quantile(0.999), l.quantile(1)
	p.Fairness, p.SendLate = l.fairness(), float64(l.late)/1e3
	return p, nil
}
