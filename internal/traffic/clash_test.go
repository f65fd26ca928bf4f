package traffic

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"verdictd/internal/testkit"
)

// Both ends send, and everything arrives at either.
func TestBothEndsBegin(t *testing.T) {
	for _, mode := range []Mode{ModeCross, ModeReply} {
		for _, target := range []string{"127.0.0.1", "::1"} {
			cfg := overLoopback(testkit.Namespace(t), target)
			cfg.Mode = mode
			res := mustRun(t, cfg)
			checkClean(t, res)
			if res.EchoResult != nil || res.Config.Threads < 2 {
				t.Errorf("%s: %d threads, echoes %+v", mode, res.Config.Threads, res.EchoResult)
			}
		}
		t.Run("over veth", func(t *testing.T) {
			local, remote := testkit.VethPair(t)
			cfg := overLoopback(local, testkit.RemoteIPv4.Addr().String())
			cfg.ReceiverNetns, cfg.Sources = remote.Path(), []netip.Addr{testkit.LocalIPv4.Addr()}
			cfg.Mode, cfg.Burst, cfg.Threads = mode, 6, 4
			checkClean(t, mustRun(t, cfg))
		})
	}
}

// What the far end sends is sent from the target: a rule that drops that takes half of the packets.
func TestTheFarEndSendsHalf(t *testing.T) {
	for _, mode := range []Mode{ModeCross, ModeReply} {
		ns := testkit.Namespace(t)
		cfg := planted(ns)
		cfg.Mode, cfg.Port = mode, 50001
		oddPorts(t, ns, nftables.ChainHookOutput, sourcePort, &expr.Verdict{Kind: expr.VerdictDrop})
		cfg.Flows, cfg.Threads = 50, 2
		cfg.Ports = PortsShuffled
		res := mustRun(t, cfg)
		// Of the near end's packets those from odd ports are dropped as well.
		if res.Lost < 100 || res.Lost > 200 || res.SendErrno["EPERM"] != res.Lost {
			t.Errorf("%s: %d lost, send errors %v; want more than the 100 of the far end, all refused", mode, res.Lost,
				res.SendErrno)
		}
	}
}

func TestSpacingIsKept(t *testing.T) {
	cfg := overLoopback(testkit.Namespace(t), "127.0.0.1")
	cfg.Flows, cfg.Burst, cfg.Threads, cfg.Spacing, cfg.Outstanding = 5, 6, 2, 10*time.Millisecond, 1
	res := mustRun(t, cfg)
	checkClean(t, res)
	if want := 5 * 2 * cfg.Spacing.Seconds(); res.Seconds < want {
		t.Errorf("5 bursts of 3 packets a thread, 10 ms apart, took %v s, want at least %v", res.Seconds, want)
	}
}

func TestTwinsAreAsManyAsAskedFor(t *testing.T) {
	cfg := overLoopback(testkit.Namespace(t), "127.0.0.1")
	cfg.Flows, cfg.Mode, cfg.Burst, cfg.Threads, cfg.Sockets = 50, ModeReuseport, 8, 4, 2
	checkClean(t, mustRun(t, cfg))
	if got := cfg.perFlow(); got != 2 {
		t.Errorf("%d sockets for a flow", got)
	}
}

func TestTranslatedTarget(t *testing.T) {
	ns := testkit.Namespace(t)
	virtual := netip.MustParseAddr("127.0.0.9")
	if err := ns.RedirectTo(virtual, netip.MustParseAddr("127.0.0.1")); err != nil {
		t.Fatal(err)
	}
	cfg := overLoopback(ns, virtual.String())
	cfg.ReceiveAt, cfg.Echo = netip.MustParseAddr("127.0.0.1"), true
	checkClean(t, mustRun(t, cfg))
}

// A flow whose packets arrive at two addresses is counted once; DNAT to several keeps flows whole where nothing
// clashes.
func TestSplitFlowsAreCounted(t *testing.T) {
	one, other := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")
	l := NewLedger(testRun, 3, 4, 1)
	l.watchReached()
	for flow, at := range map[uint32][]netip.Addr{0: {one, one, one}, 1: {one, other, one, other},
		2: {other, other, one}} {
		for _, a := range at {
			l.reach(flow, a)
		}
	}
	if got := l.Split(); got != 2 {
		t.Errorf("%d flows are split, want 2", got)
	}
	for _, family := range []string{"127.0.0.9", "::1"} {
		ns := testkit.Namespace(t)
		cfg := overLoopback(ns, family)
		cfg.Backends = []netip.Addr{one, other}
		if cfg.Target.Is6() {
			cfg.Backends = []netip.Addr{cfg.Target}
		} else if err := ns.RedirectTo(cfg.Target, one, other); err != nil {
			t.Fatal(err)
		}
		cfg.Threads = 1 // no two packets of a flow are new at a time
		res := mustRun(t, cfg)
		checkClean(t, res)
		if res.Split != 0 {
			t.Errorf("%s: %d flows are split", family, res.Split)
		}
	}
}

func TestEchoRequests(t *testing.T) {
	ns := testkit.Namespace(t)
	if err := ns.SetSysctl("ipv4/ping_group_range", fmt.Sprintf("%d %[1]d", os.Getgid())); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"127.0.0.1", "::1"} {
		for _, mode := range []Mode{ModeThreads, ModeSendmmsg} {
			cfg := overLoopback(ns, target)
			cfg.Protocol, cfg.Mode = ProtocolICMP, mode
			res := mustRun(t, cfg)
			checkClean(t, res)
			if res.SourcesChanged != 0 || res.Foreign != 0 {
				t.Errorf("%s: %+v", target, res)
			}
		}
	}
}

func TestEchoRequestIsCutOut(t *testing.T) {
	v4, v6 := netip.MustParseAddrPort("192.0.2.1:0"), netip.MustParseAddrPort("[2001:db8::1]:0")
	message := []byte{8, 0, 1, 2, 0x12, 0x34, 0, 1, 'x'}
	for name, tt := range map[string]struct {
		datagram []byte
		from     netip.AddrPort
		want     string
	}{
		"IPv4":         {append([]byte{0x46, 23: 0}, message...), v4, "x"},
		"IPv6":         {message, v6, "x"},
		"empty":        {nil, v4, ""},
		"no message":   {[]byte{0x45, 19: 0}, v4, ""},
		"lying length": {[]byte{0x4f, 0, 0}, v4, ""},
	} {
		payload, from := echoRequest(tt.datagram, tt.from)
		if string(payload) != tt.want || tt.want != "" && from.Port() != 0x1234 || from.Addr() != tt.from.Addr() {
			t.Errorf("%s: %q from %s", name, payload, from)
		}
	}
}

func TestCompleteRunsEndEarly(t *testing.T) {
	asked := 0
	for want, change := range map[Ended]func(*ClashConfig){
		EndedFlows:    func(c *ClashConfig) { c.Flows = 3 },
		EndedDuration: func(c *ClashConfig) { c.Duration = time.Second },
		EndedEnough: func(c *ClashConfig) {
			c.Enough = func() bool { asked++; return asked > 10 } // it is asked ten times a second
		},
	} {
		cfg := overLoopback(testkit.Namespace(t), "127.0.0.1")
		cfg.Flows, cfg.Pace = 5000, Pace{Rate: 100}
		change(&cfg)
		begun := time.Now()
		res := mustRun(t, cfg)
		if res.Ended != want || res.TimedOut || res.Interrupted || res.Lost != 0 || res.Flows == 0 {
			t.Errorf("%+v, want the end %s", res, want)
		}
		if d := time.Since(begun); d > 20*time.Second {
			t.Errorf("%s: took %v", want, d)
		}
	}
}

func udpClashOver(path string) UDPClashConfig {
	return UDPClashConfig{
		Target: netip.MustParseAddr("127.0.0.1"), Port: 9999, SenderNetns: path, ReceiverNetns: path,
		Flows: 5, FlowTimeout: 10 * time.Second, Timeout: 5 * time.Minute,
	}
}

func TestUDPClash(t *testing.T) {
	ns := testkit.Namespace(t)
	for _, target := range []string{"127.0.0.1", "::1"} {
		cfg := udpClashOver(ns.Path())
		cfg.Target = netip.MustParseAddr(target)
		res, err := RunUDPClash(context.Background(), cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		const want = 5 * UDPClashThreads
		if res.Flows != 5 || res.Sent != want || res.Replies != want || res.Lost+res.LossyFlows+res.SendErrors != 0 ||
			res.Ended != EndedFlows {
			t.Errorf("%s: %+v, want %d replies", target, res, want)
		}
	}
}

func TestUDPClashCountsLoss(t *testing.T) {
	ns := testkit.Namespace(t)
	oddPorts(t, ns, nftables.ChainHookInput, destinationPort, &expr.Verdict{Kind: expr.VerdictDrop})
	cfg := udpClashOver(ns.Path())
	cfg.Flows, cfg.FlowTimeout = 2, 100*time.Millisecond // no request gets to the odd port 9999
	res, err := RunUDPClash(context.Background(), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.Lost != 2*UDPClashThreads || res.LossyFlows != 2 || res.Replies != 0 {
		t.Errorf("%+v, want every reply lost", res)
	}
}

func TestUDPClashEnds(t *testing.T) {
	ns := testkit.Namespace(t)
	interrupted, cancel := context.WithCancel(context.Background())
	cancel()
	for name, tt := range map[string]struct {
		ctx    context.Context
		change func(*UDPClashConfig)
		want   Ended
	}{
		"enough": {context.Background(), func(c *UDPClashConfig) { c.Enough = func() bool { return true } },
			EndedEnough},
		"duration":    {context.Background(), func(c *UDPClashConfig) { c.Duration = 50 * time.Millisecond }, EndedDuration},
		"timeout":     {context.Background(), func(c *UDPClashConfig) { c.Timeout = 200 * time.Millisecond }, EndedTimeout},
		"interrupted": {interrupted, func(*UDPClashConfig) {}, EndedInterrupted},
	} {
		cfg := udpClashOver(ns.Path())
		cfg.Flows = 50000
		tt.change(&cfg)
		res, err := RunUDPClash(tt.ctx, cfg, nil)
		failed := tt.want == EndedTimeout || tt.want == EndedInterrupted
		if res == nil || res.Ended != tt.want || (err != nil) != failed {
			t.Errorf("%s: %+v, %v", name, res, err)
		}
	}
	bad := udpClashOver(ns.Path())
	bad.Port = 0
	if res, err := RunUDPClash(context.Background(), bad, nil); res != nil || err == nil {
		t.Errorf("port 0: %+v, %v", res, err)
	}
	bad = udpClashOver("/nowhere")
	if res, err := RunUDPClash(context.Background(), bad, nil); res != nil || err == nil {
		t.Errorf("no namespace: %+v, %v", res, err)
	}
}

// The aim brings threads together: their first stamps are nearer each other than a wake-up takes.
func TestAimedThreadsStartTogether(t *testing.T) {
	if cpus, err := allowedCPUs(); err != nil || len(cpus) < 2 {
		t.Skipf("%d CPUs (%v): two threads cannot spin", len(cpus), err)
	}
	cfg := overLoopback(testkit.Namespace(t), "127.0.0.1")
	cfg.Threads = 2
	var apart []float64 // a busy machine may tear half of the bursts apart, but not each time
	for range 20 {
		res := mustRun(t, cfg)
		if res.Spread.P50 <= 50 {
			return
		}
		apart = append(apart, res.Spread.P50)
	}
	t.Errorf("in each run half of the bursts' threads start more than 50 us apart: %v us", apart)
}

func TestSenderAddressesTheSource(t *testing.T) {
	var th thread
	th.address(netip.MustParseAddrPort("192.0.2.7:4660"))
	if th.toLen != unix.SizeofSockaddrInet4 || th.to.Family != unix.AF_INET {
		t.Errorf("%+v, length %d", th.to, th.toLen)
	}
	b := &batch{names: []unix.RawSockaddrInet6{*th.to}}
	if got := b.source(0); got != netip.MustParseAddrPort("192.0.2.7:4660") {
		t.Errorf("reads back as %s", got)
	}
	th.address(netip.MustParseAddrPort("[2001:db8::1]:80"))
	b.names[0] = *th.to
	if got := b.source(0); got != netip.MustParseAddrPort("[2001:db8::1]:80") || th.toLen != unix.SizeofSockaddrInet6 {
		t.Errorf("reads back as %s", got)
	}
}
