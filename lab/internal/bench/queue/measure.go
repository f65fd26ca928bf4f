package queue

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"verdictd/internal/netlab"
	"verdictd/internal/report"
	"verdictd/lab/internal/bench"
	"verdictd/lab/internal/testbed"
)

// restFor lets the daemon fall asleep, as the kernel brings a thread's time up to date when that leaves the CPU, and
// the gate list what is quiet.
const restFor = 30 * time.Millisecond

// A sample is one variant in one round.
type sample struct {
	Round   int    `json:"round"`
	Variant string `json:"variant"`
	// Invalid says why the figures do not count; empty if they do.
	Invalid string `json:"invalid"`
	// Disturbed says that something else took the machine's time in this round, which was repeated.
	Disturbed string `json:"disturbed,omitempty"`
	// CPUPerPacket is the daemon's, and that of verdictd guard beside another program. PathCPUPerPacket has the sends
	// with it, and so the rules, conntrack, and the queueing.
	CPUPerPacket     float64 `json:"cpu_us_per_packet"`
	PathCPUPerPacket float64 `json:"path_cpu_us_per_packet"`
	PacketsPerSecond float64 `json:"packets_per_second"`
	QueueDropped     uint32  `json:"queue_dropped"`
	UserDropped      uint32  `json:"user_dropped"`
	// From verdictd's statistics, which have the warm-up in them; nil where there are none. First and Held are
	// medians of the time that the gate had a packet.
	PacketsPerReceive *float64 `json:"packets_per_receive"`
	Gate              *uint64  `json:"gate_received"`
	FirstUS           *float64 `json:"first_us"`
	HeldUS            *float64 `json:"held_us"`
	// The same at the 99th percentile, and how often conntrack was asked for a flow, by packets that came to the gate.
	FirstP99 *float64 `json:"first_p99_us"`
	HeldP99  *float64 `json:"held_p99_us"`
	Asked    *float64 `json:"asked_per_packet"`
	// RSS is the resident memory of all of the program's processes after the load, in KiB.
	RSS int `json:"rss_kib"`
}

func (s *sample) Of() (variant string, round int, invalid string) {
	return s.Variant, s.Round, s.Invalid
}

func (s *sample) Figures() string {
	return fmt.Sprintf("%.2f us, %.2f us with the sender", s.CPUPerPacket, s.PathCPUPerPacket)
}

// measure is one variant's turn: a fresh namespace, the daemon, the load. What makes the sample invalid is in it;
// whatever was started is gone when it returns.
func (b *comparison) measure(ctx context.Context, v *variant, round int, dir string) sample {
	s := sample{Round: round, Variant: v.name()}
	if err := b.try(ctx, v, dir, &s); err != nil {
		s.Invalid = err.Error()
	}
	return s
}

func (b *comparison) try(ctx context.Context, v *variant, dir string, s *sample) error {
	return b.with(ctx, v, dir, func(ctx context.Context, ns *netlab.NetNS, daemons []*testbed.Process,
		statistics string) error {
		return b.closed(ctx, v, ns, daemons, statistics, s)
	})
}

// with has a variant judge in a namespace of its own while f runs.
func (b *comparison) with(ctx context.Context, v *variant, dir string, f func(ctx context.Context, ns *netlab.NetNS,
	daemons []*testbed.Process, statistics string) error) (err error) {
	t, err := testbed.NewTopology(report.PlacementOutput, b.under(v).family)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("make a directory for the daemon's files: %w", err)
	}
	g := testbed.NewGroup(ctx, dir)
	defer g.Close()

	statistics := filepath.Join(dir, "statistics.json")
	daemons, err := b.start(v, g, t.Queue, statistics)
	if err != nil {
		return err
	}
	return f(g.Ctx, t.Queue, daemons, statistics)
}

// closed runs the variant's own case, and sees that all of its packets came through.
func (b *comparison) closed(ctx context.Context, v *variant, ns *netlab.NetNS, daemons []*testbed.Process,
	statistics string, s *sample) error {
	failed := b.load(ctx, v, ns, daemons, s)
	// Also where packets are missing: here is why.
	q, err := kernelCount(ns, b.under(v).queues)
	if err != nil {
		return errors.Join(failed, err)
	}
	s.QueueDropped, s.UserDropped = q.QueueDropped, q.UserDropped
	switch {
	case q.QueueDropped > 0 || q.UserDropped > 0:
		return errors.Join(failed, fmt.Errorf("the kernel dropped %d packets for the queue's length and %d for the "+
			"receive buffer; try a smaller --window", q.QueueDropped, q.UserDropped))
	case failed != nil:
		return failed
	case !v.flow && q.IDSequence < uint32(b.judged(v)):
		return fmt.Errorf("only %d of %d packets came through the queue", q.IDSequence, b.judged(v))
	}
	if !v.program.isVerdictd() && !v.guarded() {
		return nil
	}
	if err := daemons[len(daemons)-1].Stop(syscall.SIGTERM); err != nil {
		return err
	}
	return b.takeStatistics(v, statistics, s)
}

// flows is how many new flows a turn counts.
func (b *comparison) flows(v *variant) int { return b.fresh / v.load.burstOf() }

// atEvenRate is how many packets a turn at a rate counts.
func (b *comparison) atEvenRate(v *variant) int { return min(b.packets, longestAtRate*v.at.rate) }

// judged is how many packets the queue has at least.
func (b *comparison) judged(v *variant) int {
	if v.at.rate > 0 {
		return b.atEvenRate(v)
	}
	if v.load == caseSettled || v.load == caseMany {
		return b.packets
	}
	return b.flows(v) * v.load.burstOf()
}

// open makes the load of a variant's case in the calling thread's namespace.
func (b *comparison) open(v *variant) (turnLoad, error) {
	at := b.under(v)
	target, sources := at.addresses()
	switch {
	case at.rate > 0:
		l, err := openPaced(target, sources, at.payload)
		return &pacedTurn{l, float64(at.rate), b.atEvenRate(v)}, err
	case v.load == caseMany:
		l, err := openMany(at.flows, at.window, at.payload)
		return &manyTurn{l, b.packets}, err
	case v.load != caseSettled:
		l, err := openFresh(v.load.burstOf(), v.load == caseAnswer, at.window, at.payload)
		return &freshTurn{l, b.flows(v)}, err
	}
	l, err := openLoad(target, sources, at.window, at.payload)
	return &settledTurn{l, b.packets}, err
}

// load sends the packets and measures what the processes take over them, and the sends.
func (b *comparison) load(ctx context.Context, v *variant, ns *netlab.NetNS, daemons []*testbed.Process,
	s *sample) error {
	return bench.OnCPU(b.loadCPU(), func() error {
		return ns.Do(func() (err error) {
			l, err := b.open(v)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, l.Close()) }()
			if err := l.warmUp(ctx); err != nil {
				return fmt.Errorf("warm up: %w", err)
			}
			time.Sleep(restFor)
			before, err := readAll(daemons)
			if err != nil {
				return err
			}
			sending, begun := l.sending(), time.Now()
			packets, err := l.run(ctx)
			if err != nil {
				return err
			}
			s.PacketsPerSecond = float64(packets) / time.Since(begun).Seconds()
			sending = l.sending() - sending
			time.Sleep(restFor)
			after, err := readAll(daemons)
			if err != nil {
				return err
			}
			spent, err := after.Since(before)
			if err != nil {
				return fmt.Errorf("sum up the daemon's CPU time: %w", err)
			}
			if s.RSS, err = readRSS(daemons); err != nil {
				return err
			}
			s.CPUPerPacket = float64(spent.Nanoseconds()) / 1e3 / float64(packets)
			s.PathCPUPerPacket = float64((spent + sending).Nanoseconds()) / 1e3 / float64(packets)
			return nil
		})
	})
}

// readAll reads the time of all processes' threads, whose numbers are the machine's.
func readAll(processes []*testbed.Process) (bench.CPUUsage, error) {
	sum := bench.CPUUsage{}
	for _, p := range processes {
		usage, err := bench.ReadCPU("/proc", p.Cmd.Process.Pid)
		if err != nil {
			return nil, err
		}
		maps.Copy(sum, usage)
	}
	return sum, nil
}

// readRSS is the resident memory of all processes together, in KiB.
func readRSS(processes []*testbed.Process) (sum int, err error) {
	for _, p := range processes {
		rss, err := bench.ReadRSS(p.Cmd.Process.Pid)
		if err != nil {
			return 0, err
		}
		sum += rss
	}
	return sum, nil
}

// takeStatistics takes over what verdictd counted. Settled flows have to pass the gate in the kernel: else their case
// measures something else.
func (b *comparison) takeStatistics(v *variant, path string, s *sample) error {
	d, err := testbed.ReadStatistics(path)
	if err != nil {
		return err
	}
	if v.program.isVerdictd() && d.Total == nil {
		return errors.New("verdictd's statistics tell of no queue")
	}
	if v.program.isVerdictd() {
		perReceive := float64(d.Total.Received) / float64(max(1, d.Total.Batches))
		s.PacketsPerReceive = &perReceive
	}
	if d.Gate == nil {
		if v.guarded() {
			return errors.New("verdictd's statistics tell of no gate")
		}
		return nil
	}
	g := &d.Gate.Total
	s.Gate, s.FirstUS, s.HeldUS = &g.Received, &g.FirstUS.P50, &g.HeldUS.P50
	asked := float64(g.Asked) / float64(max(1, g.Received))
	s.FirstP99, s.HeldP99, s.Asked = &g.FirstUS.P99, &g.HeldUS.P99, &asked
	if most := uint64(settlePackets + b.packets/100); v.load == caseSettled && g.Received > most {
		return fmt.Errorf("%d packets went through the gate, of which settling accounts for %d at most: the flows "+
			"were not listed", g.Received, most)
	}
	if bad := g.Expired + g.Unguarded; bad > 0 {
		return fmt.Errorf("%d packets went on before their flow was confirmed", bad)
	}
	return nil
}
