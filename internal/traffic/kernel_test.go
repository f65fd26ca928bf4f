package traffic

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
)

func TestMain(m *testing.M) {
	if os.Getenv(asLeaker) != "" {
		leak()
		os.Exit(0)
	}
	testkit.Main(m)
}

// overLoopback is a run within one namespace.
func overLoopback(ns *netlab.NetNS, target string) ClashConfig {
	cfg := DefaultClash()
	cfg.Target = netip.MustParseAddr(target)
	cfg.SenderNetns, cfg.ReceiverNetns = ns.Path(), ns.Path()
	cfg.Flows, cfg.Seed, cfg.Timeout = 500, 1, 5*time.Minute
	// A busy machine may stall a thread for longer than the default.
	cfg.FlowTimeout = 2 * time.Second
	return cfg
}

func mustRun(t *testing.T, cfg ClashConfig) *ClashResult {
	t.Helper()
	res, err := RunClash(context.Background(), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// checkClean fails unless every packet arrived once, intact and in order.
func checkClean(t *testing.T, res *ClashResult) {
	t.Helper()
	want := uint64(res.Config.Flows * res.Config.Burst)
	if res.Flows != uint64(res.Config.Flows) || res.Sent != want || res.Delivered != want {
		t.Errorf("%d flows, %d sent, %d delivered; want %d flows and %d packets", res.Flows, res.Sent, res.Delivered,
			res.Config.Flows, want)
	}
	if res.Lost+res.Duplicated+res.Reordered+res.Corrupted+res.Foreign+res.SendErrors != 0 || *res.ReceiverDropped != 0 {
		t.Errorf("faults on a clean path: %+v", res)
	}
	if res.Latency.P50 <= 0 || res.Latency.P50 > res.Latency.P99 || res.Latency.P99 > res.Latency.Max {
		t.Errorf("latency %+v", res.Latency)
	}
	if res.Seconds <= 0 || res.PacketsPerSecond <= 0 {
		t.Errorf("%v s, %v packets/s", res.Seconds, res.PacketsPerSecond)
	}
	if e := res.EchoResult; e != nil {
		if e.EchoSent != want || e.EchoDelivered != want || e.EchoLost+e.EchoDuplicated+e.EchoReordered+e.EchoCorrupted+
			e.EchoSendErrors != 0 {
			t.Errorf("echoes on a clean path: %+v", e)
		}
		if e.RoundTrip.P50 < res.Latency.P50 {
			t.Errorf("round trip %+v is shorter than one way %+v", e.RoundTrip, res.Latency)
		}
	}
}

// oneWay are the modes whose packets all go to the target.
var oneWay = []Mode{ModeThreads, ModeReuseport, ModeSendmmsg}

func TestEverythingArrives(t *testing.T) {
	for _, mode := range oneWay {
		for _, echo := range []bool{false, true} {
			for family, addrs := range map[string][2]netip.Prefix{
				"ipv4": {testkit.LocalIPv4, testkit.RemoteIPv4},
				"ipv6": {testkit.LocalIPv6, testkit.RemoteIPv6},
			} {
				name := fmt.Sprintf("%s/echo=%v/%s", mode, echo, family)
				t.Run("loopback/"+name, func(t *testing.T) {
					cfg := overLoopback(testkit.Namespace(t), map[string]string{"ipv4": "127.0.0.1", "ipv6": "::1"}[family])
					cfg.Mode, cfg.Echo = mode, echo
					checkClean(t, mustRun(t, cfg))
				})
				t.Run("veth/"+name, func(t *testing.T) {
					local, remote := testkit.VethPair(t)
					cfg := overLoopback(local, addrs[1].Addr().String())
					cfg.ReceiverNetns = remote.Path()
					cfg.Sources = []netip.Addr{addrs[0].Addr()}
					cfg.Mode, cfg.Echo = mode, echo
					checkClean(t, mustRun(t, cfg))
				})
			}
		}
	}
}

func TestShapes(t *testing.T) {
	for name, change := range map[string]func(*ClashConfig){
		"one packet":            func(c *ClashConfig) { c.Flows, c.Burst = 1, 1 },
		"more threads than CPU": func(c *ClashConfig) { c.Flows, c.Burst, c.Threads = 100, 11, 7 },
		"twins outnumber CPUs":  func(c *ClashConfig) { c.Flows, c.Burst, c.Threads, c.Mode = 100, 11, 7, ModeReuseport },
		"large burst":           func(c *ClashConfig) { c.Flows, c.Burst, c.Mode = 10, MaxBurst, ModeSendmmsg },
		"smallest payload":      func(c *ClashConfig) { c.Size = HeaderSize },
		"largest payload":       func(c *ClashConfig) { c.Flows, c.Size = 20, MaxPayload },
		"one at a time":         func(c *ClashConfig) { c.Outstanding = 1 },
		"no bound":              func(c *ClashConfig) { c.Outstanding = 0 },
		"sequential ports":      func(c *ClashConfig) { c.Ports = PortsSequential },
		"several sources": func(c *ClashConfig) {
			c.Sources = []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3")}
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := overLoopback(testkit.Namespace(t), "127.0.0.1")
			change(&cfg)
			res := mustRun(t, cfg)
			checkClean(t, res)
			if (res.Spread != nil) != (res.Config.Threads > 1) {
				t.Errorf("%d threads, spread %v", res.Config.Threads, res.Spread)
			}
			if len(res.Config.Sources) == 0 || res.Config.Threads == 0 {
				t.Errorf("the result leaves open how it ran: %+v", res.Config)
			}
		})
	}
}

func TestEveryFlowIsNewToConntrack(t *testing.T) {
	ns := testkit.Namespace(t)
	cfg := overLoopback(ns, "127.0.0.1")
	cfg.Sources = []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")}
	checkClean(t, mustRun(t, cfg))
	b, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_count")
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := strconv.Atoi(strings.TrimSpace(string(b))); got != cfg.Flows {
		t.Errorf("conntrack has %d entries after %d flows", got, cfg.Flows)
	}
}

func TestTakenPortsAreSkipped(t *testing.T) {
	ns := testkit.Namespace(t)
	for _, port := range []uint16{1024, 1030, 1100} {
		fd, err := openReceiver(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port), 1<<16)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Close(fd) })
	}
	for _, mode := range oneWay {
		cfg := overLoopback(ns, "127.0.0.1")
		cfg.Ports, cfg.Mode, cfg.Port = PortsSequential, mode, 1050
		res := mustRun(t, cfg)
		checkClean(t, res)
		if res.PortsSkipped != 3 {
			t.Errorf("%s: %d ports skipped, want 3", mode, res.PortsSkipped)
		}
	}
}

func TestPacedRunKeepsItsSchedule(t *testing.T) {
	cfg := overLoopback(testkit.Namespace(t), "127.0.0.1")
	cfg.Flows, cfg.Pace = 101, Pace{500}
	res := mustRun(t, cfg)
	checkClean(t, res)
	if res.Seconds < 0.2 {
		t.Errorf("101 flows at 500/s took %v s, want at least 0.2", res.Seconds)
	}
	if res.Lag == nil || res.Lag.Max <= 0 {
		t.Errorf("lag %v", res.Lag)
	}
}

// oddPorts adds a chain to the namespace whose rule does what is given to UDP packets whose source or destination
// port (by its offset in the header) is odd.
func oddPorts(t *testing.T, ns *netlab.NetNS, hook *nftables.ChainHook, offset uint32, do ...expr.Any) {
	t.Helper()
	conn, err := nftables.New(nftables.WithNetNSFd(int(ns.File().Fd())))
	if err != nil {
		t.Fatal(err)
	}
	table := conn.AddTable(&nftables.Table{Name: "planted", Family: nftables.TableFamilyINet})
	chain := conn.AddChain(&nftables.Chain{
		Name: "chain", Table: table, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: nftables.ChainPriorityFilter,
	})
	conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append([]expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_UDP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: 2},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 2, Mask: []byte{0, 1}, Xor: []byte{0, 0}},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{0, 1}},
	}, do...)})
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
}

const sourcePort, destinationPort = 0, 2 // offsets in the UDP header

// planted is a run whose flows have the ports from 1024 on, so that half of them are odd, to an even port.
func planted(ns *netlab.NetNS) ClashConfig {
	cfg := overLoopback(ns, "127.0.0.1")
	cfg.Ports, cfg.Port, cfg.Flows = PortsSequential, 50000, 200
	cfg.FlowTimeout, cfg.Linger = 20*time.Millisecond, 300*time.Millisecond
	return cfg
}

func TestDropsAreLoss(t *testing.T) {
	drop := &expr.Verdict{Kind: expr.VerdictDrop}
	for _, mode := range oneWay {
		t.Run("on the way in/"+string(mode), func(t *testing.T) {
			ns := testkit.Namespace(t)
			oddPorts(t, ns, nftables.ChainHookInput, sourcePort, drop)
			cfg := planted(ns)
			cfg.Mode = mode
			res := mustRun(t, cfg)
			if res.Sent != 800 || res.Lost != 400 || res.SendErrors != 0 || *res.ReceiverDropped != 0 {
				t.Errorf("%+v, want 400 of 800 lost", res)
			}
			if res.Expired == 0 {
				t.Error("no flow expired")
			}
		})
		t.Run("at the send/"+string(mode), func(t *testing.T) {
			ns := testkit.Namespace(t)
			oddPorts(t, ns, nftables.ChainHookOutput, sourcePort, drop)
			cfg := planted(ns)
			cfg.Mode, cfg.FlowTimeout = mode, 2*time.Second
			res := mustRun(t, cfg)
			if res.Sent != 800 || res.Lost != 400 || res.SendErrors != 400 || res.SendErrno["EPERM"] != 400 {
				t.Errorf("%+v, want 400 of 800 refused", res)
			}
			if res.Expired != 0 {
				t.Errorf("%d flows expired though the kernel said what became of them", res.Expired)
			}
		})
	}
	t.Run("on the way back", func(t *testing.T) {
		ns := testkit.Namespace(t)
		oddPorts(t, ns, nftables.ChainHookInput, destinationPort, drop)
		cfg := planted(ns)
		cfg.Echo, cfg.FlowTimeout = true, 500*time.Millisecond // not shorter than a stall, or more echoes are lost
		res := mustRun(t, cfg)
		if res.Lost != 0 || res.EchoSent != 800 || res.EchoLost != 400 || res.EchoDelivered != 400 {
			t.Errorf("%+v %+v, want nothing lost but 400 of 800 echoes", res, res.EchoResult)
		}
	})
}

func TestDamageIsSeen(t *testing.T) {
	ns := testkit.Namespace(t)
	const udpHeader, filling = 8, 50
	oddPorts(t, ns, nftables.ChainHookInput, sourcePort,
		&expr.Immediate{Register: 1, Data: []byte("nft")},
		&expr.Payload{OperationType: expr.PayloadWrite, SourceRegister: 1, Base: expr.PayloadBaseTransportHeader,
			Offset: udpHeader + filling, Len: 3},
	)
	res := mustRun(t, planted(ns))
	if res.Corrupted != 400 || res.Delivered != 400 || res.Lost != 400 {
		t.Errorf("%+v, want 400 of 800 corrupted", res)
	}
}

func TestTinyBufferIsTheReceiversLoss(t *testing.T) {
	cfg := overLoopback(testkit.Namespace(t), "127.0.0.1")
	cfg.Flows, cfg.Mode, cfg.Burst, cfg.ReceiveBuffer, cfg.FlowTimeout = 50, ModeSendmmsg, 200, 1, 10*time.Millisecond
	res := mustRun(t, cfg)
	if res.Lost == 0 || *res.ReceiverDropped != res.Lost || res.Delivered+res.Lost != res.Sent {
		t.Errorf("%d sent, %d delivered, %d lost, %d dropped by the receiver; want some lost, all by the receiver",
			res.Sent, res.Delivered, res.Lost, *res.ReceiverDropped)
	}
}

func TestRunsEndEarly(t *testing.T) {
	slow := func(t *testing.T) ClashConfig {
		cfg := overLoopback(testkit.Namespace(t), "127.0.0.1")
		cfg.Flows, cfg.Pace, cfg.Linger = 3000, Pace{100}, 10*time.Millisecond
		return cfg
	}
	check := func(t *testing.T, res *ClashResult, err, want error) {
		t.Helper()
		if !errors.Is(err, want) || res == nil {
			t.Fatalf("%v, %v; want a result and %v", res, err, want)
		}
		if res.Flows == 0 || res.Flows >= uint64(res.Config.Flows) || res.Lost != 0 {
			t.Errorf("%+v, want a part of the flows and nothing lost", res)
		}
		if res.TimedOut != errors.Is(want, ErrTimedOut) || res.Interrupted != errors.Is(want, ErrInterrupted) {
			t.Errorf("timed out %v, interrupted %v", res.TimedOut, res.Interrupted)
		}
	}
	t.Run("timeout", func(t *testing.T) {
		cfg := slow(t)
		cfg.Timeout = time.Second // of the thirty that all flows take
		start := time.Now()
		res, err := RunClash(context.Background(), cfg, nil)
		check(t, res, err, ErrTimedOut)
		if d := time.Since(start); d > 20*time.Second {
			t.Errorf("took %v", d)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		cfg := slow(t)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		res, err := RunClash(ctx, cfg, func(p Progress) {
			if p.Flows > 0 {
				cancel()
			}
		})
		check(t, res, err, ErrInterrupted)
	})
	t.Run("ports used up", func(t *testing.T) {
		cfg := overLoopback(testkit.Namespace(t), "127.0.0.1")
		fd, err := openReceiver(netip.MustParseAddrPort("127.0.0.1:2000"), 1<<16)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = unix.Close(fd) }()
		cfg.Flows, cfg.Burst, cfg.Mode = cfg.Capacity(), 1, ModeSendmmsg
		res, err := RunClash(context.Background(), cfg, nil)
		if !errors.Is(err, errExhausted) || res == nil || res.Lost != 0 || res.Flows != uint64(cfg.Flows-1) {
			t.Errorf("%+v, %v; want all flows but one, and the cause", res, err)
		}
	})
}

func TestNothingIsSent(t *testing.T) {
	ns := testkit.Namespace(t)
	for name, tt := range map[string]struct {
		change func(*ClashConfig)
		want   string
	}{
		"target not here": {func(c *ClashConfig) { c.Target = netip.MustParseAddr("192.0.2.9") }, "--receiver-netns"},
		"source not here": {func(c *ClashConfig) { c.Sources = []netip.Addr{netip.MustParseAddr("192.0.2.9")} },
			"sender's namespace"},
		"no such namespace":  {func(c *ClashConfig) { c.SenderNetns = "/nowhere" }, "/nowhere"},
		"not a namespace":    {func(c *ClashConfig) { c.ReceiverNetns = "/proc/self/status" }, "want a network namespace"},
		"a sender's neither": {func(c *ClashConfig) { c.SenderNetns = "/proc/self/status" }, "want a network namespace"},
		"too many sockets": {func(c *ClashConfig) {
			c.Echo, c.Mode, c.Outstanding, c.Burst, c.Threads = true, ModeReuseport, MaxWindow, 256, 256
		}, "ulimit"},
	} {
		cfg := overLoopback(ns, "127.0.0.1")
		tt.change(&cfg)
		res, err := RunClash(context.Background(), cfg, nil)
		if res != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %+v, %v; want no result and %q", name, res, err, tt.want)
		}
	}
}
