package queue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"verdictd/internal/netlab"
	"verdictd/lab/internal/bench"
	"verdictd/lab/internal/testbed"
)

// GateConfig says how long the guard's gate is measured.
type GateConfig struct {
	Rounds    int
	Packets   int // of settled flows that are counted
	Fresh     int // of new flows that are counted
	Flood     int // new flows of the flood at most
	Rate      float64
	Duration  time.Duration // of the paced flow, alone and in the flood, each
	Only      []string      // names of cases and of programs in the flood
	Reference string
	Require   string
}

// gateCases are what packets cost with the gate and without, and gateFloods what others bear meanwhile. The latter are
// measured by how long packets of settled flows take at an even rate.
var (
	gateCases = []variant{
		{base: floorVariant, program: floor, guard: guardOff},
		{base: "mmsg", guard: guardOff},
		{base: "mmsg+hold", guard: guardHold},
		{load: caseNew, base: "mmsg", guard: guardOff},
		{load: caseNew, base: "mmsg+hold", guard: guardHold},
		{load: caseBurst, base: "mmsg", guard: guardOff},
		{load: caseBurst, base: "mmsg+hold", guard: guardHold},
		{load: caseAnswer, base: "mmsg", guard: guardOff},
		{load: caseAnswer, base: "mmsg+hold", guard: guardHold},
	}
	gateFloods = []variant{
		{base: floorVariant, program: floor, guard: guardOff},
		{base: "c", program: library, guard: guardOff},
		{base: "c+hold", program: library, guard: guardHold},
		{base: "mmsg", guard: guardOff},
		{base: "mmsg+hold", guard: guardHold},
	}
)

// What a paced flow goes through.
const (
	quietPoint = "quiet"
	floodPoint = "flood"
)

// gateNames are what --only takes: some of the cases' names are those of programs in the flood, too.
func gateNames() []string {
	list := names(gateCases)
	for _, name := range names(gateFloods) {
		if !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return list
}

// Validate says all that is wrong.
func (c *GateConfig) Validate() error {
	_, err := bench.ParseRequirements(c.Require, gateFigureNames())
	errs := []error{err, bench.KnownOnly(c.Only, gateNames()), testbed.Within("--rounds", c.Rounds, 1, 1000),
		testbed.Within("--packets", c.Packets, 1000, 100_000_000), testbed.Within("--fresh", c.Fresh, 1000, 4_000_000),
		testbed.Within("--flood", c.Flood, 1000, 100_000_000)}
	if !(c.Rate >= 10 && c.Rate <= 100_000) {
		errs = append(errs, fmt.Errorf("--rate %g: packets a second, 10 to 100000", c.Rate))
	}
	if c.Duration < 100*time.Millisecond || c.Duration > time.Minute {
		errs = append(errs, fmt.Errorf("--duration %v: 100ms to 1m", c.Duration))
	}
	if err := conntrackTakes(c.Flood); c.Flood >= 1000 && err != nil {
		errs = append(errs, fmt.Errorf("--flood %d: %w", c.Flood, err))
	}
	return errors.Join(errs...)
}

// RunGate measures what packets cost in the gate, and then what a flood does to others.
func RunGate(ctx context.Context, t *testbed.Testbed, c *GateConfig, w io.Writer) (*GateResult, error) {
	required, err := bench.ParseRequirements(c.Require, gateFigureNames())
	if err != nil {
		return nil, err
	}
	b := &comparison{
		Programs: t.Programs, reference: c.Reference, window: usualWindow, payload: usualPayload, packets: c.Packets,
		fresh: c.Fresh, cpus: t.CPUs, variants: gateCases,
	}
	r := &GateResult{Head: bench.NewHead[sample](t.Version, t.Host, gateSettings{
		Rounds: c.Rounds, Packets: c.Packets, Fresh: c.Fresh, Flood: c.Flood, Rate: c.Rate, Seconds: c.Duration.Seconds(),
		LoadCPU: b.loadCPU(), DaemonCPU: b.daemonCPU(),
	})}
	missing := bench.LeftOut(names(gateCases), c.Only, func(i int) error { return b.canRun(&gateCases[i]) })
	if r.Samples, err = b.rounds(ctx, c.Rounds, missing, w); err != nil {
		return nil, err
	}
	absent := bench.LeftOut(names(gateFloods), c.Only, func(i int) error { return b.canRun(&gateFloods[i]) })
	r.Floods, err = bench.Rounds(ctx, 1, c.Rounds, names(gateFloods), absent, w,
		func(i, round int, dir string) openSample { return b.measureFlood(ctx, c, &gateFloods[i], round, dir) })
	if err != nil {
		return nil, err
	}
	r.Interrupted = ctx.Err() != nil
	r.judge(required, missing, absent)
	return r, nil
}

// measureFlood is one variant's turn: paced flows alone, and then while new flows come as fast as they can be sent.
func (b *comparison) measureFlood(ctx context.Context, c *GateConfig, v *variant, round int, dir string) openSample {
	s := openSample{Round: round, Variant: v.name()}
	err := b.with(ctx, v, dir, func(ctx context.Context, ns *netlab.NetNS, daemons []*testbed.Process, _ string) error {
		return bench.OnCPU(b.loadCPU(), func() error {
			return ns.Do(func() error {
				return c.quietAndFlood(ctx, &openTurn{b.under(v), v, ns, daemons}, &s)
			})
		})
	})
	if err != nil {
		s.Invalid = err.Error()
	}
	return s
}

func (c *GateConfig) quietAndFlood(ctx context.Context, t *openTurn, s *openSample) (err error) {
	target, sources := t.addresses()
	l, err := openPaced(target, sources, t.payload)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if err := l.send(ctx, settlePackets/settleFor.Seconds(), settlePackets, 0); err != nil {
		return err
	}
	time.Sleep(settlePause)
	quiet, err := t.atRate(ctx, l, c.Rate, c.Duration, 1)
	if err != nil {
		return err
	}
	quiet.Name = quietPoint
	f, err := openFlood(c.Flood, t.payload)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	l.between = f.one
	flooded, err := t.atRate(ctx, l, c.Rate, c.Duration, 2)
	if err != nil {
		return err
	}
	flooded.Name, flooded.Flood = floodPoint, float64(f.sent)*c.Rate/float64(max(1, flooded.Sent))
	s.Points = []point{quiet, flooded}
	return nil
}
