package main

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"verdictd/internal/config"
	"verdictd/internal/exposure"
	"verdictd/internal/kernel"
	"verdictd/internal/kernel/kerneltest"
	"verdictd/internal/liverules"
	"verdictd/internal/nfq"
	"verdictd/internal/ruleset"
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
	if n := clashes(t) - before; kerneltest.CountsClashes(t) && n == 0 {
		t.Error("no clash without the guard")
	}
}

// asksConntrack reports whether rules do, which keeps conntrack active.
func asksConntrack(rules string) bool {
	return strings.Contains(rules, "ct state") || strings.Contains(rules, "ct status") || strings.Contains(rules, "ct zone")
}

// checkGuard looks at what a guard has counted.
func checkGuard(t *testing.T, s *statistics) {
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
	if g.Received != g.First+g.Passed+g.Held+g.Exempt+g.Announced || g.Held != g.Confirmed+g.Gone {
		t.Errorf("gate: %+v; want every packet to be one of these", g)
	}
}

// TestGuardFollowsRules: a guard that is there first finds the rules of a program
// that comes later, whatever makes them.
func TestGuardFollowsRules(t *testing.T) {
	queue := "-t mangle -A OUTPUT -p udp --dport 5300 -j NFQUEUE --queue-bypass --queue-num 5"
	for name, test := range map[string]struct{ add, remove func(t *testing.T) }{
		"nftables": {
			func(t *testing.T) {
				queueChain(t, "foreign", nftables.ChainHookOutput, -150, foreign)
			},
			func(t *testing.T) {
				conn := &nftables.Conn{}
				conn.FlushTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "foreign"})
				if err := conn.Flush(); err != nil {
					t.Fatal(err)
				}
			},
		},
		"iptables-nft": {
			func(t *testing.T) { command(t, "iptables-nft "+queue) },
			func(t *testing.T) { command(t, "iptables-nft -t mangle -F OUTPUT") },
		},
		"iptables-legacy": {
			func(t *testing.T) { command(t, "iptables-legacy "+queue) },
			nil, // looked at every two seconds: once is enough
		},
	} {
		t.Run(name, func(t *testing.T) {
			ns := kerneltest.Namespace(t)
			judge(t, ns, foreign, slow)
			g := startGuard(t, ns, config.Default())
			if text := gateText(t, ns); asksConntrack(text) {
				t.Errorf("without anything to guard there are rules:\n%s", text)
			}
			test.add(t)
			g.said.await(t, "msg=guard ", "mode=hold")
			guarded(t, 20)
			if test.remove != nil {
				g.said.forget()
				test.remove(t)
				g.said.await(t, "msg=guard ", "mode=off")
				if text := gateText(t, ns); asksConntrack(text) || !strings.Contains(text, "chain gate-output") {
					t.Errorf("rules with nothing to guard, which should have base chains alone:\n%s", text)
				}
			}
			s := g.stop()
			checkGuard(t, &s)
			if text := gateText(t, ns); text != "" {
				t.Errorf("the guard has left:\n%s", text)
			}
		})
	}
}

// TestGuardChoosesQueues: --queue names those that are guarded.
func TestGuardChoosesQueues(t *testing.T) {
	for name, test := range map[string]struct {
		queues []exposure.QueueRange
		mode   config.GuardMode
	}{
		"all":            {nil, config.GuardHold},
		"this one":       {[]exposure.QueueRange{{First: 5, Last: 5}}, config.GuardHold},
		"one of several": {[]exposure.QueueRange{{First: 0, Last: 1}, {First: 4, Last: 9}}, config.GuardHold},
		"another one":    {[]exposure.QueueRange{{First: 6, Last: 9}}, config.GuardOff},
	} {
		t.Run(name, func(t *testing.T) {
			ns := kerneltest.Namespace(t)
			judge(t, ns, foreign, slow)
			queueChain(t, "foreign", nftables.ChainHookOutput, -150, foreign)
			g := startGuard(t, ns, config.Default(), test.queues...)
			if test.mode == config.GuardHold {
				guarded(t, 10)
			} else {
				unguarded(t, 10)
			}
			s := g.stop()
			if s.Guard != string(test.mode) || (s.Gate != nil) != (test.mode == config.GuardHold) {
				t.Errorf("guard %s, gate %+v; want %s", s.Guard, s.Gate, test.mode)
			}
		})
	}
}

// TestGuardModes: drop has further packets dropped, auto is hold where there is need,
// and off is refused.
func TestGuardModes(t *testing.T) {
	for _, mode := range []config.GuardMode{config.GuardAuto, config.GuardHold, config.GuardDrop} {
		t.Run(string(mode), func(t *testing.T) {
			ns := kerneltest.Namespace(t)
			judge(t, ns, foreign, slow)
			queueChain(t, "foreign", nftables.ChainHookOutput, -150, foreign)
			cfg := config.Default()
			cfg.Guard.Mode = mode
			g := startGuard(t, ns, cfg)
			const flows = 20
			arrived := burst(t, loopback, flows)
			s := g.stop()
			dropped := 0
			if mode == config.GuardDrop {
				dropped = int(s.Gate.Total.Dropped)
				if dropped == 0 || s.Gate.Total.Confirmed != 0 || s.Guard != string(config.GuardDrop) {
					t.Errorf("guard %s, gate %+v; want packets to be dropped, and none to wait for another", s.Guard, s.Gate.Total)
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
		kerneltest.Namespace(t)
		cfg := config.Default()
		cfg.Guard.Mode = config.GuardOff
		if err := runGuard(t.Context(), cfg, nil, discard); err == nil || !strings.Contains(err.Error(), "guard.mode") {
			t.Errorf("%v, want it to be refused", err)
		}
	})
}

// TestGuardTakesOver: what a guard that was killed has left is no hindrance, whether
// it had something to guard or not.
func TestGuardTakesOver(t *testing.T) {
	for name, active := range map[string]bool{"active": true, "idle": false} {
		t.Run(name, func(t *testing.T) {
			ns := kerneltest.Namespace(t)
			judge(t, ns, foreign, slow)
			queueChain(t, "foreign", nftables.ChainHookOutput, -150, foreign)
			cfg := config.Default()
			left := gateRules(guardTable, &cfg.Guard)
			if active {
				left.Gate.Traffic = []ruleset.Traffic{{IPv4: true, Protocols: []uint8{17}}}
			}
			if _, err := ruleset.Install(left); err != nil {
				t.Fatal(err)
			}
			if n := burst(t, loopback, 1); n != 4 {
				t.Errorf("%d of 4 packets arrived while nobody served the gate's queue", n)
			}
			g := startGuard(t, ns, cfg)
			guarded(t, 10)
			s := g.stop()
			checkGuard(t, &s)
			if text := gateText(t, ns); text != "" {
				t.Errorf("the guard has left:\n%s", text)
			}
		})
	}
}

// TestSecondGuard is refused, and leaves the first one alone.
func TestSecondGuard(t *testing.T) {
	ns := kerneltest.Namespace(t)
	judge(t, ns, foreign, slow)
	queueChain(t, "foreign", nftables.ChainHookOutput, -150, foreign)
	g := startGuard(t, ns, config.Default())
	if err := runGuard(t.Context(), config.Default(), nil, discard); err == nil || !strings.Contains(err.Error(), guardTable) {
		t.Errorf("the second guard: %v, want an error that names the table", err)
	}
	guarded(t, 10)
	s := g.stop()
	checkGuard(t, &s)
}

// TestGateQueueTaken: the error names the queue and who has it, and nothing stays.
func TestGateQueueTaken(t *testing.T) {
	ns := kerneltest.Namespace(t)
	cfg := config.Default()
	judge(t, ns, cfg.Guard.FirstQueue, 0)
	queueChain(t, "foreign", nftables.ChainHookOutput, -150, foreign)
	err := runGuard(t.Context(), cfg, nil, discard)
	var inUse *nfq.InUseError
	if !errors.As(err, &inUse) || inUse.Queue != cfg.Guard.FirstQueue {
		t.Errorf("%v, want an InUseError", err)
	}
	if text := gateText(t, ns); text != "" {
		t.Errorf("the guard has left:\n%s", text)
	}
}

// TestConntrackComesAndGoes: the guard does not activate it, and is at work as long
// as somebody else does.
func TestConntrackComesAndGoes(t *testing.T) {
	ns := namespaceWithoutConntrack(t)
	judge(t, ns, foreign, slow)
	queueChain(t, "foreign", nftables.ChainHookOutput, -150, foreign)
	g := startGuard(t, ns, config.Default())
	inactive := func(when string) {
		t.Helper()
		rules, err := liverules.Read()
		if err != nil || rules.Conntrack.IPv4 == liverules.Yes { // entries that are left make it unknown
			t.Errorf("%s: conntrack %+v, %v; want it inactive", when, rules.Conntrack, err)
		}
		if text := gateText(t, ns); asksConntrack(text) {
			t.Errorf("%s: rules that activate conntrack:\n%s", when, text)
		}
	}
	inactive("at the start")
	masquerade := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: "test-nat-4"}
	for range 2 {
		g.said.forget()
		activateConntrack(t)
		g.said.await(t, "msg=guard ", "mode=hold")
		guarded(t, 10)
		g.said.forget()
		conn := &nftables.Conn{}
		conn.FlushTable(masquerade) // the rest stays, or what waits in queues is dropped
		if err := conn.Flush(); err != nil {
			t.Fatal(err)
		}
		g.said.await(t, "msg=guard ", "mode=off")
		inactive("without the NAT")
	}
	s := g.stop()
	checkGuard(t, &s)
}

// activateConntrack adds a rule that needs it, as masquerading does, and matches nothing.
func activateConntrack(t *testing.T) {
	t.Helper()
	nat(t, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource,
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{253}},
		&expr.Masq{})
}

// TestFlushedRuleset: a firewall's reload begins with `flush ruleset`.
func TestFlushedRuleset(t *testing.T) {
	ns := kerneltest.Namespace(t)
	judge(t, ns, foreign, slow)
	queueChain(t, "foreign", nftables.ChainHookOutput, -150, foreign)
	g := startGuard(t, ns, config.Default())
	guarded(t, 10)
	conn := &nftables.Conn{}
	conn.FlushRuleset()
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	activateConntrack(t)
	queueChain(t, "foreign", nftables.ChainHookOutput, -150, foreign)
	g.said.await(t, "installed again")
	g.said.forget()
	g.said.await(t, "msg=guard ", "mode=hold")
	guarded(t, 10)
	s := g.stop()
	checkGuard(t, &s)
}

// TestGuardStopsUnderLoad: packets that are held, and those behind them, arrive in
// order, and clash no more than without the guard.
func TestGuardStopsUnderLoad(t *testing.T) {
	ns := kerneltest.Namespace(t)
	judge(t, ns, foreign, 100*time.Microsecond)
	queueChain(t, "foreign", nftables.ChainHookOutput, -150, foreign)
	g := startGuard(t, ns, config.Default())
	st := newStream(t, ns)
	time.Sleep(200 * time.Millisecond)
	n := clashes(t)
	s := g.stop()
	time.Sleep(50 * time.Millisecond)
	st.stop()
	if n != 0 || s.Gate.Total.Held == 0 || s.Gate.Total.Unguarded+s.Gate.Total.VerdictErrors != 0 {
		t.Errorf("%d clashes before the stop; gate %+v", n, s.Gate.Total)
	}
}

// TestGuardLeavesWhatWaits: with a base chain the kernel would drop what waits in any
// queue, so the table stays as long as a program that stands still holds packets.
func TestGuardLeavesWhatWaits(t *testing.T) {
	ns := kerneltest.Namespace(t)
	q, err := nfq.OpenMmsg(nfq.Config{Queue: foreign})
	if err != nil {
		t.Fatal(err)
	}
	queueChain(t, "foreign", nftables.ChainHookOutput, -150, foreign)
	cfg := config.Default()
	cfg.Guard.Hold = 100 * time.Millisecond
	g := startGuard(t, ns, cfg)
	to := netip.AddrPortFrom(loopback, port)
	in, out := listen(t, ns, to), dial(t, ns, to)
	write(t, out, "one", "two")
	time.Sleep(50 * time.Millisecond)
	s := g.stop()
	if text := gateText(t, ns); asksConntrack(text) || !strings.Contains(text, "chain gate-output") || !g.said.has("stays, empty") {
		t.Errorf("the guard has left, and should leave base chains alone:\n%s", text)
	}
	if s.Gate.Total.Unguarded+s.Gate.Total.Expired == 0 {
		t.Errorf("gate: %+v; want what was held at the stop to be let go", s.Gate.Total)
	}
	go func() {
		_ = q.Run(func(b *nfq.Batch) error {
			for i := range b.Packets {
				if err := q.Reply(&nfq.Reply{ID: b.Packets[i].ID, Verdict: nfq.Accept}); err != nil {
					return err
				}
			}
			return q.Flush()
		})
		_ = q.Close()
	}()
	want(t, in, "one", "two")
	g = startGuard(t, ns, config.Default())
	g.stop()
	if text := gateText(t, ns); text != "" {
		t.Errorf("the next guard has left:\n%s", text)
	}
	_ = q.Stop()
}

// TestExemptPorts never come to the gate.
func TestExemptPorts(t *testing.T) {
	ns := kerneltest.Namespace(t)
	judge(t, ns, foreign, slow)
	queueChain(t, "foreign", nftables.ChainHookOutput, -150, foreign)
	cfg := config.Default()
	cfg.Guard.ExemptPorts = []uint16{53, port}
	g := startGuard(t, ns, cfg)
	unguarded(t, 10)
	if s := g.stop(); s.Guard != string(config.GuardHold) || s.Gate.Total.Received != 0 {
		t.Errorf("guard %s, gate %+v; want nothing to come to it", s.Guard, s.Gate.Total)
	}
}

// TestSettled: a flow that is confirmed and quiet for a moment passes in the kernel,
// but where the configuration has all pass the gate.
func TestSettled(t *testing.T) {
	for name, settled := range map[string]bool{"settled": true, "not settled": false} {
		t.Run(name, func(t *testing.T) {
			ns := kerneltest.Namespace(t)
			judge(t, ns, foreign, 0)
			queueChain(t, "foreign", nftables.ChainHookOutput, -150, foreign)
			cfg := config.Default()
			cfg.Guard.Settled = settled
			g := startGuard(t, ns, cfg)
			to := netip.AddrPortFrom(loopback, port)
			in, out := listen(t, ns, to), dial(t, ns, to)
			const packets = 20
			for range packets {
				write(t, out, "hey")
				time.Sleep(20 * time.Millisecond)
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

// TestGuardStatistics: the file has the keys that scripts rely on.
func TestGuardStatistics(t *testing.T) {
	ns := kerneltest.Namespace(t)
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

// TestZonesComeLater: rules that put packets into zones reopen the gate, which has a
// queue for each. Meanwhile packets pass as without a guard.
func TestZonesComeLater(t *testing.T) {
	ns := kerneltest.Namespace(t)
	judge(t, ns, foreign, 100*time.Microsecond)
	queueChain(t, "foreign", nftables.ChainHookOutput, -150, foreign)
	g := startGuard(t, ns, config.Default())
	st := newStream(t, ns)
	time.Sleep(100 * time.Millisecond)
	before := clashes(t)
	addZone(t, ns)
	g.said.await(t, "msg=guard ", "zones=[7]")
	time.Sleep(100 * time.Millisecond)
	st.stop()
	if before != 0 {
		t.Errorf("%d clashes before there were zones", before)
	}
	s := g.stop()
	if s.Gate.Total.Received < uint64(st.sent)/2 || s.Gate.Total.Unguarded+s.Gate.Total.VerdictErrors != 0 {
		t.Errorf("gate: %+v for %d packets; want those before the zones to be counted as well", s.Gate.Total, st.sent)
	}
}

func addZone(t *testing.T, ns *kernel.NetNS) {
	t.Helper()
	if err := ns.Do(func() error {
		addRule(t, &nftables.Chain{
			Table: &nftables.Table{Family: nftables.TableFamilyINet, Name: "zones"},
			Type:  nftables.ChainTypeFilter, Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityRaw,
		}, zoneOf(7)...)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
