package traffic

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
)

// The plan gives every packet of a run a place of its own, in order within a flow.
func TestFloodPlan(t *testing.T) {
	for _, cfg := range []FloodConfig{
		{Packets: 1, Flows: 1, Threads: 1, Batch: 1, Segments: 1},
		{Packets: 10_000, Flows: 3, Threads: 2, Batch: 4, Segments: 3},
		{Packets: 9_999, Flows: 7, Threads: 7, Batch: 64, Segments: 1},
		{Packets: 5_000, Flows: 2, Threads: 1, Batch: 1024, Segments: 64},
		{Packets: 3, Flows: 5, Threads: 5, Batch: 2, Segments: 2},
	} {
		p := cfg.plan()
		seen := map[[2]uint32]bool{}
		total := 0
		for thread := range cfg.Threads {
			last := map[int]int{}
			for n := range p.share(thread, cfg.Packets) {
				total++
				flow, number := p.at(thread, n)
				if flow >= p.flowsOf(thread) || number != last[flow] {
					t.Fatalf("%+v: packet %d of thread %d is number %d of flow %d, want %d", cfg, n, thread, number, flow, last[flow])
				}
				last[flow]++
				ledgerFlow := p.block(thread, flow) + uint32(number/floodBlock)
				place := [2]uint32{ledgerFlow, uint32(number % floodBlock)}
				if seen[place] || int(ledgerFlow) >= cfg.Flows*p.blocks {
					t.Fatalf("%+v: place %v again, or beyond the ledger", cfg, place)
				}
				seen[place] = true
			}
		}
		if total != cfg.Packets {
			t.Errorf("%+v: %d packets", cfg, total)
		}
	}
}

func TestFloodSchedule(t *testing.T) {
	p := floodPlan{threads: 2, flows: 2, turn: 1}
	pace := Pace{Rate: 1000}
	for thread, want := range []time.Duration{10 * time.Millisecond, 11 * time.Millisecond} {
		if got := p.due(pace, thread, 5); got != want {
			t.Errorf("packet 5 of thread %d is due at %v, want %v", thread, got, want)
		}
	}
	// At a time as many are overdue as have been due until then, whoever asks.
	for thread := range 2 {
		ft := &floodThread{plan: p, pace: pace, number: thread}
		for _, at := range []time.Duration{11 * time.Millisecond, 100500 * time.Microsecond, time.Hour} {
			n := ft.overdue(0, 0, int64(at))
			if p.due(pace, thread, n-1) > at || p.due(pace, thread, n) <= at {
				t.Errorf("thread %d at %v: %d overdue, of which the last is due at %v and the next at %v",
					thread, at, n, p.due(pace, thread, n-1), p.due(pace, thread, n))
			}
		}
	}
}

func TestFloodValidate(t *testing.T) {
	good := DefaultFlood()
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*FloodConfig){
		"packets 0":     func(c *FloodConfig) { c.Packets = 0 },
		"threads 9":     func(c *FloodConfig) { c.Threads = 9 },
		"threads 0":     func(c *FloodConfig) { c.Threads = 0 },
		"batch 1025":    func(c *FloodConfig) { c.Batch = 1025 },
		"segments 65":   func(c *FloodConfig) { c.Segments = 65 },
		"segments 64":   func(c *FloodConfig) { c.Segments, c.Size = 64, 1400 },
		"size 27":       func(c *FloodConfig) { c.Size = 27 },
		"target 8.8":    func(c *FloodConfig) { c.Target = netip.MustParseAddr("8.8.8.8") },
		"duration -1ns": func(c *FloodConfig) { c.Duration = -1 },
	} {
		cfg := DefaultFlood()
		change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func floodOver(ns *netlab.NetNS, target string) FloodConfig {
	cfg := DefaultFlood()
	cfg.Target, cfg.SenderNetns, cfg.ReceiverNetns = netip.MustParseAddr(target), ns.Path(), ns.Path()
	cfg.Packets, cfg.Timeout, cfg.Linger = 20_000, 5*time.Minute, 2*time.Second
	return cfg
}

func mustFlood(t *testing.T, cfg FloodConfig) *FloodResult {
	t.Helper()
	res, err := RunFlood(context.Background(), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestFloodArrives(t *testing.T) {
	for name, change := range map[string]func(*FloodConfig){
		"as it comes":       func(*FloodConfig) {},
		"one by one":        func(c *FloodConfig) { c.Batch, c.Packets = 1, 5000 },
		"two threads":       func(c *FloodConfig) { c.Threads = 2 },
		"GSO":               func(c *FloodConfig) { c.Segments = 16 },
		"GSO, two threads":  func(c *FloodConfig) { c.Segments, c.Threads, c.Flows = 7, 2, 3 },
		"smallest":          func(c *FloodConfig) { c.Size = HeaderSize },
		"IPv6, large":       func(c *FloodConfig) { c.Target, c.Size, c.Packets = netip.IPv6Loopback(), 1400, 3000 },
		"paced":             func(c *FloodConfig) { c.Pace, c.Packets, c.Threads = Pace{Rate: 20_000}, 4000, 2 },
		"paced, GSO":        func(c *FloodConfig) { c.Pace, c.Packets, c.Segments = Pace{Rate: 20_000}, 4000, 8 },
		"more than a block": func(c *FloodConfig) { c.Flows = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := floodOver(testkit.Namespace(t), "127.0.0.1")
			change(&cfg)
			res := mustFlood(t, cfg)
			a := res.FloodArrivals
			// Without the right to a larger buffer the receiver may not keep up, and drops at its own socket.
			if want := uint64(cfg.Packets); res.Sent != want || a.Delivered+*a.ReceiverDropped != want ||
				res.Ended != EndedPackets {
				t.Fatalf("%+v %+v, want %d packets, of which it dropped %d", res, a, want, *a.ReceiverDropped)
			}
			if a.Lost != *a.ReceiverDropped || a.Duplicated+a.Reordered+a.Corrupted+a.Foreign+res.SendErrors != 0 {
				t.Errorf("faults on a clean path: %+v", a)
			}
			if res.CPUSeconds <= 0 || res.CPUPerPacket <= 0 || res.PerCPUSecond <= 0 || res.SentPerSecond <= 0 ||
				a.Latency.Max <= 0 {
				t.Errorf("%+v %+v", res, a)
			}
			if per := uint64(cfg.Batch * cfg.Segments); cfg.Pace.Full() && res.Calls > res.Sent/per+
				uint64(cfg.Flows*cfg.Threads)+1 {
				t.Errorf("%d system calls for %d packets, up to %d in each", res.Calls, res.Sent, per)
			}
			if (res.Lag != nil) == cfg.Pace.Full() {
				t.Errorf("lag %v", res.Lag)
			}
		})
	}
}

// At a rate the run takes its time, and a packet that is sent late is late from when it was due.
func TestFloodStallShowsInLatency(t *testing.T) {
	cfg := floodOver(testkit.Namespace(t), "127.0.0.1")
	cfg.Pace, cfg.Packets = Pace{Rate: 2000}, 401
	res := mustFlood(t, cfg)
	if res.SendSeconds < 0.2 {
		t.Errorf("401 packets at 2,000 a second took %v s", res.SendSeconds)
	}
	if res.Lag.Max > res.Latency.Max {
		t.Errorf("the latest send was %v us late, and the latest arrival only %v us", res.Lag.Max, res.Latency.Max)
	}
	// A thread that begins 300 ms late has all that was due by then in its first steps, each with its own due time.
	clk, err := newClock()
	if err != nil {
		t.Fatal(err)
	}
	late := newFloodThread(clk, &cfg, 1, 0, make([]byte, cfg.Size-HeaderSize))
	if n := late.overdue(0, 0, int64(300*time.Millisecond)); n != 601 {
		t.Errorf("%d overdue after 300 ms, want 601", n)
	}
	late.fds = []int{-1, -1, -1, -1, -1, -1, -1, -1}
	start := clk.now() - int64(300*time.Millisecond)
	if wait := late.step(start); wait != 0 || late.next.Load() != int64(cfg.Batch) {
		t.Fatalf("waits %v after %d packets", wait, late.next.Load())
	}
	h, err := DecodeHeader(late.batch.bufs[cfg.Batch-1])
	if want := start + int64(cfg.Pace.Due(uint64(cfg.Batch-1))); err != nil || h.Sent != want {
		t.Errorf("the last packet of the batch carries %d (%v), want %d, when it was due", h.Sent, err, want)
	}
	if late.failed != uint64(cfg.Batch) || late.errnos.total() != late.failed {
		t.Errorf("%d refused of %d sent to nowhere", late.failed, cfg.Batch)
	}
}

func TestFloodLoss(t *testing.T) {
	ns := testkit.Namespace(t)
	oddPorts(t, ns, nftables.ChainHookInput, destinationPort, &expr.Verdict{Kind: expr.VerdictDrop})
	cfg := floodOver(ns, "127.0.0.1")
	cfg.Packets, cfg.Linger = 1000, 50*time.Millisecond // all to the odd port 9999
	if res := mustFlood(t, cfg); res.Lost != 1000 || res.Delivered != 0 || res.SendErrors != 0 {
		t.Errorf("%+v %+v, want all lost on the way", res, res.FloodArrivals)
	}
	ns = testkit.Namespace(t)
	oddPorts(t, ns, nftables.ChainHookOutput, destinationPort, &expr.Verdict{Kind: expr.VerdictDrop})
	cfg = floodOver(ns, "127.0.0.1")
	cfg.Packets, cfg.Segments = 1000, 10
	if res := mustFlood(t, cfg); res.Lost != 1000 || res.SendErrors != 1000 || res.SendErrno["EPERM"] != 1000 ||
		res.CPUPerPacket != 0 {
		t.Errorf("%+v %+v, want all refused", res, res.FloodArrivals)
	}
	cfg = floodOver(testkit.Namespace(t), "127.0.0.1")
	cfg.ReceiveBuffer, cfg.Linger = 1, 100*time.Millisecond
	if res := mustFlood(t, cfg); res.Lost == 0 || *res.ReceiverDropped != res.Lost {
		t.Errorf("%+v, want the receiver's loss", res.FloodArrivals)
	}
}

func TestBlindFlood(t *testing.T) {
	cfg := floodOver(testkit.Namespace(t), "127.0.0.1")
	cfg.Blind = true
	res := mustFlood(t, cfg)
	if res.FloodArrivals != nil || res.Sent != uint64(cfg.Packets) || res.CPUPerPacket <= 0 {
		t.Errorf("%+v", res)
	}
}

func TestFloodEnds(t *testing.T) {
	interrupted, cancel := context.WithCancel(context.Background())
	defer cancel()
	for want, tt := range map[Ended]struct {
		ctx    context.Context
		change func(*FloodConfig)
		err    error
	}{
		EndedDuration: {context.Background(), func(c *FloodConfig) { c.Duration = time.Second }, nil},
		EndedTimeout: {context.Background(),
			func(c *FloodConfig) { c.Timeout, c.Linger = time.Second, 50*time.Millisecond }, ErrTimedOut},
		EndedInterrupted: {interrupted, func(*FloodConfig) {}, ErrInterrupted},
	} {
		cfg := floodOver(testkit.Namespace(t), "127.0.0.1")
		cfg.Pace, cfg.Packets = Pace{Rate: 1000}, 1_000_000
		tt.change(&cfg)
		res, err := RunFlood(tt.ctx, cfg, func(p Progress) {
			if want == EndedInterrupted && p.Sent > 0 {
				cancel()
			}
		})
		if !errors.Is(err, tt.err) || res == nil || res.Ended != want || res.Lost != 0 || res.Sent == 0 {
			t.Errorf("%s: %+v, %v", want, res, err)
		}
	}
	cfg := floodOver(testkit.Namespace(t), "192.0.2.1")
	if res, err := RunFlood(context.Background(), cfg, nil); res != nil || err == nil ||
		!strings.Contains(err.Error(), "--receiver-netns") {
		t.Errorf("%+v, %v; want no result and the cure", res, err)
	}
}
