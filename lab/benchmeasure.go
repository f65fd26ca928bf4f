package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"verdictd/internal/kernel"
	"verdictd/internal/topology"
)

const (
	// settleFor is how long the flows send a packet now and then before the load begins. A flow settles when the guard has
	// seen the socket empty some time after the flow's first verdict (grace, by default 50 ms), which a full load might
	// never let it.
	settleFor = 300 * time.Millisecond

	// settlePackets are all that are sent for that, and so all that the guard may send anew.
	settlePackets = 15 * benchFlows

	// warmPart of the packets are sent before those that count: caches, the Go runtime's heap, the CPU's clock.
	warmPart = 10

	// restFor lets the daemon fall asleep, as the kernel brings a thread's time up to date when that leaves the CPU.
	restFor = 10 * time.Millisecond
)

// A sample is one variant in one round.
type sample struct {
	Round   int    `json:"round"`
	Variant string `json:"variant"`
	// Invalid says why the figures do not count; empty if they do.
	Invalid          string  `json:"invalid"`
	CPUPerPacket     float64 `json:"cpu_us_per_packet"`
	PacketsPerSecond float64 `json:"packets_per_second"`
	QueueDropped     uint32  `json:"queue_dropped"`
	UserDropped      uint32  `json:"user_dropped"`
	// From verdictd's statistics, which have the warm-up in them; nil for the C program.
	PacketsPerReceive *float64 `json:"packets_per_receive"`
	Reinjected        *uint64  `json:"reinjected"`
}

func (s *sample) of() (variant string, round int, invalid string) {
	return s.Variant, s.Round, s.Invalid
}

func (s *sample) figures() string { return fmt.Sprintf("%.2f us", s.CPUPerPacket) }

// measure is one variant's turn: a fresh namespace, the daemon, the load. What makes the sample invalid is in it; whatever
// was started is gone when it returns.
func (b *bench) measure(ctx context.Context, v *variant, round int, dir string) sample {
	s := sample{Round: round, Variant: v.name}
	if err := b.try(ctx, v, dir, &s); err != nil {
		s.Invalid = err.Error()
	}
	return s
}

func (b *bench) try(ctx context.Context, v *variant, dir string, s *sample) (err error) {
	t, err := newTopology("output", "ipv4")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("make a directory for the daemon's files: %w", err)
	}
	g := newGroup(ctx, dir)
	defer g.Close()

	statistics := filepath.Join(dir, "statistics.json")
	daemon, err := b.start(v, g, t.Queue, statistics)
	if err != nil {
		return err
	}
	if err := v.installRules(t.Queue); err != nil {
		return err
	}
	failed := b.load(g.ctx, t.Queue, daemon.cmd.Process.Pid, s)
	// Also where packets are missing: here is why.
	q, err := kernelCount(t.Queue)
	if err != nil {
		return errors.Join(failed, err)
	}
	s.QueueDropped, s.UserDropped = q.QueueDropped, q.UserDropped
	switch {
	case q.QueueDropped > 0 || q.UserDropped > 0:
		return errors.Join(failed, fmt.Errorf("the kernel dropped %d packets for the queue's length and %d for the receive buffer; try a smaller --window", q.QueueDropped, q.UserDropped))
	case failed != nil:
		return failed
	case q.IDSequence < uint32(b.packets):
		return fmt.Errorf("only %d of %d packets came through the queue", q.IDSequence, b.packets)
	}
	if err := daemon.stop(syscall.SIGTERM); err != nil || v.isReference() {
		return err
	}
	return takeStatistics(statistics, s)
}

// load sends the packets and measures what process pid takes over them.
func (b *bench) load(ctx context.Context, ns *kernel.NetNS, pid int, s *sample) error {
	n := topology.Networks["ipv4"]
	return onCPU(b.loadCPU, func() error {
		return ns.Do(func() (err error) {
			l, err := openLoad(netip.AddrPortFrom(n.Target, port), n.SourceList()[:benchFlows], b.window)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, l.Close()) }()
			if err := l.warmUp(ctx, b.packets/warmPart); err != nil {
				return fmt.Errorf("warm up: %w", err)
			}
			time.Sleep(restFor)
			before, err := readCPU("/proc", pid)
			if err != nil {
				return err
			}
			begun := time.Now()
			if err := l.send(ctx, b.packets); err != nil {
				return err
			}
			s.PacketsPerSecond = float64(b.packets) / time.Since(begun).Seconds()
			time.Sleep(restFor)
			after, err := readCPU("/proc", pid)
			if err != nil {
				return err
			}
			spent, err := after.since(before)
			if err != nil {
				return fmt.Errorf("sum up the daemon's CPU time: %w", err)
			}
			s.CPUPerPacket = float64(spent.Nanoseconds()) / 1e3 / float64(b.packets)
			return nil
		})
	})
}

// warmUp lets the flows settle, and then runs the load for a while.
func (l *load) warmUp(ctx context.Context, packets int) error {
	for range settlePackets {
		if err := l.send(ctx, 1); err != nil {
			return err
		}
		time.Sleep(settleFor / settlePackets)
	}
	return l.send(ctx, packets)
}

// takeStatistics takes over what verdictd counted.
func takeStatistics(path string, s *sample) error {
	document, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read what verdictd counted: %w", err)
	}
	var o struct {
		Total struct {
			Received   uint64 `json:"received"`
			Batches    uint64 `json:"batches"`
			Reinjected uint64 `json:"reinjected"`
		} `json:"total"`
	}
	if err := decode("verdictd", document, &o, "total.received", "total.batches", "total.reinjected"); err != nil {
		return err
	}
	perReceive := float64(o.Total.Received) / float64(max(1, o.Total.Batches))
	s.PacketsPerReceive, s.Reinjected = &perReceive, &o.Total.Reinjected
	if o.Total.Reinjected > settlePackets {
		return fmt.Errorf("the guard sent %d packets anew, of which settling accounts for %d at most: the flows did not settle", o.Total.Reinjected, settlePackets)
	}
	return nil
}
