package service

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"

	"verdictd/daemon/internal/exposure"
	"verdictd/internal/config"
	"verdictd/internal/netlab"
	"verdictd/internal/ruleset"
	"verdictd/internal/statistics"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

var loopback = netip.MustParseAddr("127.0.0.1")

// guarded sends a burst through the foreign program's queue: as many packets arrive,
// and none clashes.
func guarded(t *testing.T, flows int) {
	t.Helper()
	before := clashes(t)
	if n := burst(t, loopback, flows); n != 4*flows {
		t.Errorf("%d of %d packets arrived", n, 4*flows)
	}
	if n := clashes(t) - before; n != 0 {
		t.Errorf("%d clashes", n)
	}
}

// unguarded is the same without the guard: they clash.
func unguarded(t *testing.T, flows int) {
	t.Helper()
	before := clashes(t)
	if n := burst(t, loopback, flows); n != 4*flows {
		t.Errorf("%d of %d packets arrived", n, 4*flows)
	}
	if n := clashes(t) - before; testkit.CountsClashes(t) && n == 0 {
		t.Error("no clash without the guard")
	}
}

// asksConntrack reports whether rules do, which keeps conntrack active.
func asksConntrack(rules string) bool {
	return strings.Contains(rules, "ct state") || strings.Contains(rules, "ct status") || strings.Contains(rules, "ct zone")
}

// checkGuard looks at what a guard has counted.
func checkGuard(t *testing.T, s *statistics.Document) {
	t.Helper()
	if s.Schema != 2 || s.Queues != nil || s.Total != nil {
		t.Errorf("statistics of a guard: %+v", s)
	}
	if s.Gate == nil {
		t.Fatal("there was no gate")
	}
	g := &s.Gate.Total
	if g.Held == 0 || g.Expired+g.Unguarded+g.VerdictErrors+g.QueueDropped+g.UserDropped != 0 {
		t.Errorf("gate: %+v", g)
	}
	if g.Received != g.First-g.Gone-g.Dark+g.Passed+g.Held+g.Exempt+g.Announced || g.Held != g.Confirmed+g.Gone+g.Dark {
		t.Errorf("gate: %+v; want every packet to be one of these", g)
	}
}

// TestGuardChoosesQueues: --queue names those that are guarded.
func TestGuardChoosesQueues(t *testing.T) {
	for name, test := range map[string]struct {
		queues []exposure.QueueRange
		mode   vocabulary.GuardMode
	}{
		"all":            {nil, vocabulary.GuardHold},
		"this one":       {[]exposure.QueueRange{{First: 5, Last: 5}}, vocabulary.GuardHold},
		"one of several": {[]exposure.QueueRange{{First: 0, Last: 1}, {First: 4, Last: 9}}, vocabulary.GuardHold},
		"another one":    {[]exposure.QueueRange{{First: 6, Last: 9}}, vocabulary.GuardOff},
	} {
		t.Run(name, func(t *testing.T) {
			ns := testkit.Namespace(t)
			judge(t, ns, foreign, slow)
			queueChain(t, "foreign", nftables.ChainHookOutput, -150, foreign)
			g := startGuard(t, ns, config.Default(), test.queues...)
			if test.mode == vocabulary.GuardHold {
				guarded(t, 10)
			} else {
				unguarded(t, 10)
			}
			s := g.stop()
			if s.Guard != string(test.mode) || (s.Gate != nil) != (test.mode == vocabulary.GuardHold) {
				t.Errorf("guard %s, gate %+v; want %s", s.Guard, s.Gate, test.mode)
			}
		})
	}
}

// TestGuardModes: drop has further packets dropped, auto is hold where there is need,
// and off is refused.
func TestGuardModes(t *testing.T) {
	for _, mode := range []vocabulary.GuardMode{vocabulary.GuardAuto, vocabulary.GuardHold, vocabulary.GuardDrop} {
		t.Run(string(mode), func(t *testing.T) {
			ns := testkit.Namespace(t)
			judge(t, ns, foreign, slow)
			queueChain(t, "foreign", nftables.ChainHookOutput, -150, foreign)
			cfg := config.Default()
			cfg.Guard.Mode = mode
			g := startGuard(t, ns, cfg)
			const flows = 20
			arrived := burst(t, loopback, flows)
			s := g.stop()
			dropped := 0
			if mode == vocabulary.GuardDrop {
				// A packet that comes after its flow's first one was judged passes, as conntrack has the flow.
				g := &s.Gate.Total
				dropped = int(g.Dropped)
				if dropped == 0 || g.Dropped+g.Confirmed != g.Held || s.Guard != string(vocabulary.GuardDrop) {
					t.Errorf("guard %s, gate %+v; want packets to be dropped unless conntrack has their flow", s.Guard, s.Gate.Total)
				}
			} else {
				checkGuard(t, &s)
			}
			if n := clashes(t); n != 0 || arrived != 4*flows-dropped {
				t.Errorf("%d clashes, %d of %d arrived, %d dropped", n, arrived, 4*flows, dropped)
			}
		})
	}
	t.Run("off", func(t *testing.T) {
		testkit.Namespace(t)
		cfg := config.Default()
		cfg.Guard.Mode = vocabulary.GuardOff
		if err := RunGuard(t.Context(), cfg, nil, options(discard)); err == nil || !strings.Contains(err.Error(), "guard.mode") {
			t.Errorf("%v, want it to be refused", err)
		}
	})
}

// TestExemptPorts never come to the gate.
func TestExemptPorts(t *testing.T) {
	ns := testkit.Namespace(t)
	judge(t, ns, foreign, slow)
	queueChain(t, "foreign", nftables.ChainHookOutput, -150, foreign)
	cfg := config.Default()
	cfg.Guard.ExemptPorts = []uint16{53, port}
	g := startGuard(t, ns, cfg)
	unguarded(t, 10)
	if s := g.stop(); s.Guard != string(vocabulary.GuardHold) || s.Gate.Total.Received != 0 {
		t.Errorf("guard %s, gate %+v; want nothing to come to it", s.Guard, s.Gate.Total)
	}
}

// TestSettled: a flow that is confirmed and quiet for a moment passes in the kernel,
// but where the configuration has all pass the gate.
func TestSettled(t *testing.T) {
	for name, settled := range map[string]bool{"settled": true, "not settled": false} {
		t.Run(name, func(t *testing.T) {
			ns := testkit.Namespace(t)
			judge(t, ns, foreign, 0)
			queueChain(t, "foreign", nftables.ChainHookOutput, -150, foreign)
			cfg := config.Default()
			cfg.Guard.Settled = settled
			g := startGuard(t, ns, cfg)
			to := netip.AddrPortFrom(loopback, port)
			in, out := listen(t, ns, to), dial(t, ns, to)
			const packets = 100
			for i := range packets {
				write(t, out, "hey")
				if i == 20 && settled { // enough to be worth the set, when it pauses
					awaitListed(t, ns, guardTable)
				}
			}
			want(t, in, strings.Split(strings.Repeat("hey ", packets)[:4*packets-1], " ")...)
			s := g.stop()
			switch c := s.Gate.Total; {
			case settled && (c.Listed == 0 || c.Received > packets/2):
				t.Errorf("gate: %+v; want the flow to be listed, and most packets to pass in the kernel", c)
			case !settled && (c.Listed != 0 || c.Received != packets):
				t.Errorf("gate: %+v; want all %d packets to pass the gate", c, packets)
			}
		})
	}
}

// awaitListed waits until a flow is in the settled set of one of these tables.
func awaitListed(t *testing.T, ns *netlab.NetNS, tables ...string) {
	t.Helper()
	listed := func() (n uint64) {
		for _, table := range tables {
			set, err := ruleset.OpenSettled(table)
			if err != nil {
				continue
			}
			if more, err := set.Count(); err == nil {
				n += more
			}
			_ = set.Close()
		}
		return n
	}
	for until := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		var n uint64
		if err := ns.Do(func() error { n = listed(); return nil }); err != nil || n > 0 {
			return
		}
		if time.Now().After(until) {
			t.Errorf("no flow is listed in %v", tables)
			return
		}
	}
}

// TestGuardStatistics: the file has the keys that scripts rely on.
func TestGuardStatistics(t *testing.T) {
	ns := testkit.Namespace(t)
	judge(t, ns, foreign, slow)
	queueChain(t, "foreign", nftables.ChainHookOutput, -150, foreign)
	cfg := config.Default()
	cfg.Guard.Queues = 2
	g := startGuard(t, ns, cfg)
	guarded(t, 10)
	s := g.stop()
	checkGuard(t, &s)
	var sum uint64
	for _, q := range s.Gate.Queues {
		sum += q.Received
	}
	if len(s.Gate.Queues) != 2 || sum != s.Gate.Total.Received || s.CPUPerPacket <= 0 || s.RSS.Max < s.RSS.Start || s.Seconds <= 0 {
		t.Errorf("statistics: %+v", s)
	}
	text, err := os.ReadFile(filepath.Clean(g.file))
	if err != nil {
		t.Fatal(err)
	}
	for key := range strings.FieldsSeq(`schema version backend guard seconds gate queues total received first held confirmed gone dropped expired
		expired_hold expired_limit expired_second unguarded unguarded_flows unguarded_packets unguarded_bytes exempt passed announced reentered vanished
		asked barriers listed list_failed verdict_errors queue_dropped user_dropped held_us first_us p50 p99 max max_held max_bytes max_flows
		cpu_us_per_packet rss_kib`) {
		if !strings.Contains(string(text), `"`+key+`":`) {
			t.Errorf("the statistics have no key %s:\n%s", key, text)
		}
	}
}

// TestBurstsWithPauses: a program that had nothing to judge for a while does not stand
// still, nor does it want a second packet.
func TestBurstsWithPauses(t *testing.T) {
	ns := testkit.Namespace(t)
	judge(t, ns, foreign, 5*time.Millisecond)
	queueChain(t, "foreign", nftables.ChainHookOutput, -150, foreign)
	g := startGuard(t, ns, config.Default())
	to := netip.AddrPortFrom(loopback, port)
	in := listen(t, ns, to)
	for range 4 {
		out := dial(t, ns, to)
		write(t, out, "one", "two", "three", "four")
		want(t, in, "one", "two", "three", "four")
		time.Sleep(300 * time.Millisecond)
	}
	if n := clashes(t); n != 0 {
		t.Errorf("%d clashes", n)
	}
	s := g.stop()
	checkGuard(t, &s)
}
