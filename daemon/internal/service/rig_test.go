package service

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/childtest"
	"verdictd/internal/config"
	"verdictd/internal/netlab"
	"verdictd/internal/statistics"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// bothModes plays something with the guard off and with packets held: with both the
// same arrives.
func bothModes(t *testing.T, f func(t *testing.T, mode vocabulary.GuardMode)) {
	t.Helper()
	for _, mode := range []vocabulary.GuardMode{vocabulary.GuardOff, vocabulary.GuardHold} {
		t.Run(string(mode), func(t *testing.T) { f(t, mode) })
	}
}

// remotes are the peer's addresses.
var remotes = map[string]netip.AddrPort{
	"IPv4": netip.AddrPortFrom(testkit.RemoteIPv4.Addr(), port),
	"IPv6": netip.AddrPortFrom(testkit.RemoteIPv6.Addr(), port),
}

// loopback4 is where tests send to themselves.
var loopback4 = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)

// eachFamily is bothModes for IPv4 and for IPv6.
func eachFamily(t *testing.T, f func(t *testing.T, mode vocabulary.GuardMode, to netip.AddrPort)) {
	t.Helper()
	for name, to := range remotes {
		t.Run(name, func(t *testing.T) {
			bothModes(t, func(t *testing.T, mode vocabulary.GuardMode) { f(t, mode, to) })
		})
	}
}

// perFlow has the daemon think over each flow's first packet, for long enough that
// the sender sends the rest meanwhile.
func perFlow(d time.Duration) config.Analysis {
	return config.Analysis{Distribution: vocabulary.DistributionFixed, Delay: d, Per: vocabulary.PerFlow}
}

// rig is two namespaces with the daemon in the one that the test is in.
type rig struct {
	t             *testing.T
	mode          vocabulary.GuardMode
	local, remote *netlab.NetNS
	daemon        *running
}

func newRig(t *testing.T, mode vocabulary.GuardMode, change func(*config.Config)) *rig {
	t.Helper()
	local, remote := testkit.VethPair(t)
	cfg := testConfig()
	cfg.Rules.Placement, cfg.Guard.Mode, cfg.Analysis = vocabulary.PlacementOutput, mode, perFlow(10*time.Millisecond)
	if change != nil {
		change(cfg)
	}
	return &rig{t, mode, local, remote, start(t, local, cfg)}
}

// done stops the daemon and checks that at least so many packets clashed without
// the guard, and were held with it.
func (r *rig) done(further uint64) statistics.Document {
	r.t.Helper()
	s := r.daemon.stop()
	checkClashes(r.t, r.mode, &s, further)
	return s
}

// checkClashes looks at what a daemon leaves in the test's namespace.
func checkClashes(t *testing.T, mode vocabulary.GuardMode, s *statistics.Document, further uint64) {
	t.Helper()
	if s.Total.VerdictErrors+s.Total.QueueDropped+s.Total.UserDropped != 0 {
		t.Errorf("verdicts: %+v", s.Total)
	}
	clashed := clashes(t)
	if mode == vocabulary.GuardOff {
		if testkit.CountsClashes(t) && clashed < further {
			t.Errorf("%d clashes without the guard, want at least %d", clashed, further)
		}
		return
	}
	if clashed != 0 {
		t.Errorf("%d clashes", clashed)
	}
	if s.Gate == nil {
		t.Fatal("there was no gate")
	}
	g := &s.Gate.Total
	if g.Held < further || g.Expired+g.Unguarded+g.VerdictErrors+g.QueueDropped+g.UserDropped != 0 {
		t.Errorf("%d held (want at least %d), and trouble: %+v", g.Held, further, g)
	}
}

// listenRemote receives in the peer's namespace.
func (r *rig) listenRemote(address netip.AddrPort) *net.UDPConn {
	return listen(r.t, r.remote, address)
}

func listen(t *testing.T, ns *netlab.NetNS, address netip.AddrPort) *net.UDPConn {
	t.Helper()
	var c *net.UDPConn
	err := ns.Do(func() (err error) {
		c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(address))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	childtest.Roomy(t, c)
	return c
}

func (r *rig) dial(to netip.AddrPort) *net.UDPConn { return dial(r.t, r.local, to) }

func dial(t *testing.T, ns *netlab.NetNS, to netip.AddrPort) *net.UDPConn {
	t.Helper()
	var c *net.UDPConn
	err := ns.Do(func() (err error) {
		c, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// write sends one packet for each payload.
func write(t *testing.T, c *net.UDPConn, payloads ...string) {
	t.Helper()
	for _, payload := range payloads {
		if _, err := c.Write([]byte(payload)); err != nil {
			t.Fatal(err)
		}
	}
}

// want receives exactly these payloads, in order and from one address.
func want(t *testing.T, c *net.UDPConn, payloads ...string) (sender netip.AddrPort) {
	t.Helper()
	b := make([]byte, 65536)
	for i := 0; ; i++ {
		quiet := 20 * time.Second // on a busy machine
		if i >= len(payloads) {
			quiet = 50 * time.Millisecond // nothing more must come
		}
		if err := c.SetReadDeadline(time.Now().Add(quiet)); err != nil {
			t.Fatal(err)
		}
		n, from, err := c.ReadFromUDPAddrPort(b)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && i >= len(payloads):
			return sender
		case err != nil:
			t.Fatalf("packet %d of %d: %v", i+1, len(payloads), err)
		case i >= len(payloads):
			t.Fatalf("one packet too many: %.40q", b[:n])
		case string(b[:n]) != payloads[i]:
			t.Errorf("packet %d: %d bytes %.40q, want %d bytes %.40q", i+1, n, b[:n], len(payloads[i]), payloads[i])
		}
		if sender.IsValid() && sender != from {
			t.Errorf("packet %d came from %v, the one before from %v", i+1, from, sender)
		}
		sender = from
	}
}

func option(t *testing.T, c *net.UDPConn, level, name, value int) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var optErr error
	if err := raw.Control(func(fd uintptr) { optErr = unix.SetsockoptInt(int(fd), level, name, value) }); err != nil || optErr != nil {
		t.Fatal(err, optErr)
	}
}

func newNamespace(t *testing.T) *netlab.NetNS {
	t.Helper()
	ns, err := netlab.NewNetNS()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ns.Close() })
	return ns
}

// addRule adds a chain with one rule to the thread's namespace.
func addRule(t *testing.T, c *nftables.Chain, rule ...expr.Any) *nftables.Chain {
	t.Helper()
	conn, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	if c.Table == nil {
		c.Table = &nftables.Table{Family: nftables.TableFamilyINet}
	}
	if c.Table.Name == "" {
		c.Table.Name = fmt.Sprintf("test-%s-%d", c.Type, *c.Hooknum)
	}
	c.Name = "chain"
	conn.AddTable(c.Table)
	conn.AddChain(c)
	conn.AddRule(&nftables.Rule{Table: c.Table, Chain: c, Exprs: rule})
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	return c
}

// nat adds a chain of type nat with one rule for IPv4.
func nat(t *testing.T, hook *nftables.ChainHook, priority *nftables.ChainPriority, rule ...expr.Any) {
	t.Helper()
	addRule(t, &nftables.Chain{
		Table: &nftables.Table{Family: nftables.TableFamilyIPv4}, Type: nftables.ChainTypeNAT, Hooknum: hook, Priority: priority,
	}, rule...)
}

// filter adds a chain of type filter with one rule, at priority 0.
func filter(t *testing.T, hook *nftables.ChainHook, rule ...expr.Any) {
	t.Helper()
	addRule(t, &nftables.Chain{Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: nftables.ChainPriorityFilter}, rule...)
}
