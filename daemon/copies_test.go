package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"verdictd/internal/config"
	"verdictd/internal/kernel"
	"verdictd/internal/kernel/kerneltest"
	"verdictd/internal/nfq"
)

// The tests in this file send packets that a copy could get wrong through the
// guard, on the real kernel: a flow's first packet is analysed for a while, so
// that all further ones are copies. For the same reason nobody tells which entries
// are confirmed: a sender that was kept waiting would make no copies.

// copyRig is two namespaces with the daemon in the one that the test is in.
type copyRig struct {
	t             *testing.T
	local, remote *kernel.NetNS
	daemon        *running
}

func newCopyRig(t *testing.T, change func(*config.Config)) *copyRig {
	t.Helper()
	local, remote := kerneltest.VethPair(t)
	cfg := testConfig()
	cfg.Rules.Placement = config.PlacementOutput
	cfg.Guard.EntryQueues = false
	cfg.Analysis = config.Analysis{Distribution: config.DistributionFixed, Delay: 3 * time.Millisecond, Per: config.PerFlow}
	if change != nil {
		change(cfg)
	}
	return &copyRig{t, local, remote, start(t, local, cfg)}
}

// done stops the daemon and checks that at least least packets were sent anew,
// none of them in vain, and that nothing clashed.
func (r *copyRig) done(least uint64) {
	r.t.Helper()
	s := r.daemon.stop()
	if s.Total.Reinjected < least || s.Total.ReinjectFailed != 0 || s.Total.Looped != 0 {
		r.t.Errorf("%d sent anew (want at least %d), %d failed, %d looped; %+v", s.Total.Reinjected, least, s.Total.ReinjectFailed, s.Total.Looped, s.Total.Counters)
	}
	if n := clashes(r.t); n != 0 {
		r.t.Errorf("%d clashes", n)
	}
}

// listenRemote receives in the peer's namespace.
func (r *copyRig) listenRemote(address netip.AddrPort) *net.UDPConn {
	r.t.Helper()
	var c *net.UDPConn
	err := r.remote.Do(func() (err error) {
		c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(address))
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (r *copyRig) dial(to netip.AddrPort) *net.UDPConn {
	r.t.Helper()
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (r *copyRig) write(c *net.UDPConn, payload string) {
	r.t.Helper()
	if _, err := c.Write([]byte(payload)); err != nil {
		r.t.Fatal(err)
	}
}

// want receives exactly these payloads, in order and from one address.
func (r *copyRig) want(c *net.UDPConn, payloads ...string) {
	r.t.Helper()
	b := make([]byte, 65536)
	var sender netip.AddrPort
	for i := 0; ; i++ {
		quiet := 2 * time.Second
		if i >= len(payloads) {
			quiet = 50 * time.Millisecond // nothing more must come
		}
		if err := c.SetReadDeadline(time.Now().Add(quiet)); err != nil {
			r.t.Fatal(err)
		}
		n, from, err := c.ReadFromUDPAddrPort(b)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && i >= len(payloads):
			return
		case err != nil:
			r.t.Fatalf("packet %d of %d: %v", i+1, len(payloads), err)
		case i >= len(payloads):
			r.t.Fatalf("one packet too many: %.40q", b[:n])
		case string(b[:n]) != payloads[i]:
			r.t.Errorf("packet %d: %d bytes %.40q, want %d bytes %.40q", i+1, n, b[:n], len(payloads[i]), payloads[i])
		}
		if sender.IsValid() && sender != from {
			r.t.Errorf("packet %d came from %v, the one before from %v", i+1, from, sender)
		}
		sender = from
	}
}

var remotes = map[string]netip.AddrPort{
	"IPv4": netip.AddrPortFrom(kerneltest.RemoteIPv4.Addr(), port),
	"IPv6": netip.AddrPortFrom(kerneltest.RemoteIPv6.Addr(), port),
}

func eachFamily(t *testing.T, f func(t *testing.T, to netip.AddrPort)) {
	for name, to := range remotes {
		t.Run(name, func(t *testing.T) { f(t, to) })
	}
}

func TestLongDatagrams(t *testing.T) {
	for _, placement := range []config.Placement{config.PlacementOutput, config.PlacementPostrouting} {
		t.Run(string(placement), func(t *testing.T) {
			eachFamily(t, func(t *testing.T, to netip.AddrPort) {
				r := newCopyRig(t, func(c *config.Config) { c.Rules.Placement = placement })
				in, out := r.listenRemote(to), r.dial(to)
				var sent []string
				for _, n := range []int{10, 4000, 1473, 30000} {
					sent = append(sent, strings.Repeat(fmt.Sprint(n%10), n))
					r.write(out, sent[len(sent)-1])
				}
				r.want(in, sent...)
				r.done(3)
			})
		})
	}
}

// TestSegmentedSend has the kernel make three datagrams of one send (UDP GSO).
func TestSegmentedSend(t *testing.T) {
	eachFamily(t, func(t *testing.T, to netip.AddrPort) {
		r := newCopyRig(t, nil)
		in, out := r.listenRemote(to), r.dial(to)
		option(t, out, unix.SOL_UDP, unix.UDP_SEGMENT, 500, true)
		r.write(out, strings.Repeat("a", 500)+strings.Repeat("b", 500)+"c")
		r.want(in, strings.Repeat("a", 500), strings.Repeat("b", 500), "c")
		r.done(2)
	})
}

// TestSegmentsOnTheWayIn: a veth passes on what the sender left to be segmented,
// as GRO hands up what it has put together.
func TestSegmentsOnTheWayIn(t *testing.T) {
	r := newCopyRig(t, func(c *config.Config) { c.Rules.Placement = config.PlacementInput })
	to := netip.AddrPortFrom(kerneltest.LocalIPv4.Addr(), port)
	in, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	var out *net.UDPConn
	if err := r.remote.Do(func() error { out = r.dial(to); return nil }); err != nil {
		t.Fatal(err)
	}
	option(t, out, unix.SOL_UDP, unix.UDP_SEGMENT, 500, true)
	r.write(out, strings.Repeat("a", 500)+strings.Repeat("b", 500)+"c")
	r.want(in, strings.Repeat("a", 500), strings.Repeat("b", 500), "c")
	r.done(2)
}

func TestMulticastAndBroadcast(t *testing.T) {
	device := func(t *testing.T, ns *kernel.NetNS, name string) (i *net.Interface) {
		t.Helper()
		if err := ns.Do(func() (err error) { i, err = net.InterfaceByName(name); return err }); err != nil {
			t.Fatal(err)
		}
		return i
	}
	t.Run("multicast", func(t *testing.T) {
		r := newCopyRig(t, nil)
		group := netip.MustParseAddr("233.252.0.1") // MCAST-TEST-NET, RFC 6676
		var in *net.UDPConn
		remoteDevice := device(t, r.remote, kerneltest.RemoteLink)
		if err := r.remote.Do(func() (err error) {
			in, err = net.ListenMulticastUDP("udp4", remoteDevice, net.UDPAddrFromAddrPort(netip.AddrPortFrom(group, port)))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = in.Close() }()
		if err := r.local.AddRoute(netip.PrefixFrom(group, 32), kerneltest.RemoteIPv4.Addr()); err != nil {
			t.Fatal(err)
		}
		out := r.dial(netip.AddrPortFrom(group, port))
		for _, payload := range []string{"one", "two", "three"} {
			r.write(out, payload)
		}
		r.want(in, "one", "two", "three")
		r.done(2)
	})
	t.Run("broadcast", func(t *testing.T) {
		r := newCopyRig(t, nil)
		to := netip.MustParseAddrPort("192.0.2.255:5300")
		in, out := r.listenRemote(to), r.dial(to) // Go's sockets have SO_BROADCAST set
		for _, payload := range []string{"one", "two", "three"} {
			r.write(out, payload)
		}
		r.want(in, "one", "two", "three")
		r.done(2)
	})
}

// nat adds a chain of type nat with one rule.
func nat(t *testing.T, hook *nftables.ChainHook, priority *nftables.ChainPriority, rule ...expr.Any) {
	t.Helper()
	conn, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	table := conn.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "nat"})
	chain := conn.AddChain(&nftables.Chain{Table: table, Name: "nat", Type: nftables.ChainTypeNAT, Hooknum: hook, Priority: priority})
	conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: rule})
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
}

// TestMasqueradeBehindTheQueue: an entry of its own would get a port of its own.
func TestMasqueradeBehindTheQueue(t *testing.T) {
	for _, placement := range []config.Placement{config.PlacementOutput, config.PlacementPostrouting} {
		t.Run(string(placement), func(t *testing.T) {
			r := newCopyRig(t, func(c *config.Config) { c.Rules.Placement = placement })
			nat(t, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource, &expr.Masq{FullyRandom: true})
			in, out := r.listenRemote(remotes["IPv4"]), r.dial(remotes["IPv4"])
			for _, payload := range []string{"one", "two", "three"} {
				r.write(out, payload)
			}
			r.want(in, "one", "two", "three")
			r.done(2)
		})
	}
}

// TestDNATBehindTheQueue: mangle OUTPUT comes before nat OUTPUT, so the copy is
// translated as the packet is.
func TestDNATBehindTheQueue(t *testing.T) {
	r := newCopyRig(t, nil)
	target := kerneltest.RemoteIPv4.Addr().As4()
	nat(t, nftables.ChainHookOutput, nftables.ChainPriorityNATDest,
		&expr.Immediate{Register: 1, Data: target[:]},
		&expr.Immediate{Register: 2, Data: binaryutil.BigEndian.PutUint16(port + 1)},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1, RegProtoMin: 2})
	in := r.listenRemote(netip.AddrPortFrom(kerneltest.RemoteIPv4.Addr(), port+1))
	out := r.dial(netip.MustParseAddrPort("192.0.2.77:5300"))
	for _, payload := range []string{"one", "two", "three"} {
		r.write(out, payload)
	}
	r.want(in, "one", "two", "three")
	r.done(2)
}

// TestICMPErrorsReachTheSender: a copy's error belongs to the socket that sent
// the packet, not to the daemon's.
func TestICMPErrorsReachTheSender(t *testing.T) {
	eachFamily(t, func(t *testing.T, to netip.AddrPort) {
		r := newCopyRig(t, nil)
		out := r.dial(to) // nobody listens there
		for _, payload := range []string{"first", "copy"} {
			r.write(out, payload)
			if err := out.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := out.Read(make([]byte, 10)); !errors.Is(err, unix.ECONNREFUSED) {
				t.Fatalf("%s packet: %v, want ECONNREFUSED", payload, err)
			}
		}
		r.done(1)
	})
}

// TestUDPLite is a protocol that Go's net package does not know.
func TestUDPLite(t *testing.T) {
	r := newCopyRig(t, func(c *config.Config) { c.Rules.Protocols = []config.Protocol{unix.IPPROTO_UDPLITE} })
	socket := func(ns *kernel.NetNS, address unix.Sockaddr) (fd int) {
		err := ns.Do(func() (err error) {
			if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.IPPROTO_UDPLITE); err != nil {
				return err
			}
			return unix.Bind(fd, address)
		})
		if errors.Is(err, unix.EPROTONOSUPPORT) {
			t.Skip("this kernel has no UDP-Lite sockets")
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Close(fd) })
		return fd
	}
	to := &unix.SockaddrInet4{Addr: kerneltest.RemoteIPv4.Addr().As4(), Port: port}
	in := socket(r.remote, to)
	out := socket(r.local, &unix.SockaddrInet4{})
	for n := range byte(4) {
		if err := unix.Sendto(out, []byte{n}, 0, to); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.SetsockoptTimeval(in, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 2}); err != nil {
		t.Fatal(err)
	}
	for n := range byte(4) {
		b := make([]byte, 10)
		if got, _, err := unix.Recvfrom(in, b, 0); err != nil || got != 1 || b[0] != n {
			t.Errorf("packet %d: % x, %v", n, b[:max(got, 0)], err)
		}
	}
	r.done(3)
}

// TestTCPPassesUntouched connects through the queue.
func TestTCPPassesUntouched(t *testing.T) {
	r := newCopyRig(t, func(c *config.Config) { c.Rules.Protocols = []config.Protocol{unix.IPPROTO_TCP} })
	var l net.Listener
	if err := r.remote.Do(func() (err error) { l, err = net.Listen("tcp", remotes["IPv4"].String()); return err }); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() {
		if c, err := l.Accept(); err == nil {
			_, _ = c.Write([]byte("hello"))
			_ = c.Close()
		}
	}()
	c, err := net.DialTimeout("tcp", remotes["IPv4"].String(), 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 10)
	if n, err := c.Read(b); string(b[:n]) != "hello" {
		t.Errorf("read %q, %v", b[:n], err)
	}
	_ = c.Close()
	s := r.daemon.stop()
	if s.Total.Received == 0 || s.Total.Accepted != s.Total.Received || s.Total.First+s.Total.Further != 0 {
		t.Errorf("counters: %+v", s.Total.Counters)
	}
}

// filter adds a rule at filter priority, which is behind the queue's.
func filter(t *testing.T, hook *nftables.ChainHook, rule ...expr.Any) {
	t.Helper()
	conn, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	table := conn.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "filter"})
	chain := conn.AddChain(&nftables.Chain{Table: table, Name: "filter", Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: nftables.ChainPriorityFilter})
	conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: rule})
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
}

// TestCopiesDoNotGetPastRules: the copy of a packet that came in from a peer
// comes in through lo, where rules are often lax.
func TestCopiesDoNotGetPastRules(t *testing.T) {
	drop := &expr.Verdict{Kind: expr.VerdictDrop}
	fromPeer := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIF, Register: 1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(1)},
		drop,
	}
	receive := func(t *testing.T, r *copyRig) (in, out *net.UDPConn) {
		t.Helper()
		to := netip.AddrPortFrom(kerneltest.LocalIPv4.Addr(), port)
		in, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(to))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = in.Close() })
		if err := r.remote.Do(func() error { out = r.dial(to); return nil }); err != nil {
			t.Fatal(err)
		}
		for _, payload := range []string{"one", "two", "three"} {
			r.write(out, payload)
		}
		return in, out
	}
	input := func(c *config.Config) { c.Rules.Placement = config.PlacementInput }
	t.Run("dropped in INPUT", func(t *testing.T) {
		r := newCopyRig(t, input)
		filter(t, nftables.ChainHookInput, fromPeer...)
		in, _ := receive(t, r)
		r.want(in)
		if s := r.daemon.stop(); s.Total.Reinjected != 0 || s.Total.GivenBack != 2 {
			t.Errorf("counters: %+v; want both further packets to be given back to the rule", s.Total.Counters)
		}
	})
	t.Run("passed in INPUT", func(t *testing.T) {
		r := newCopyRig(t, input)
		in, _ := receive(t, r)
		r.want(in, "one", "two", "three")
		r.done(2)
	})
	t.Run("OUTPUT would drop the copies", func(t *testing.T) {
		r := newCopyRig(t, input)
		filter(t, nftables.ChainHookOutput, drop)
		in, _ := receive(t, r)
		r.want(in, "one", "two", "three")
		if s := r.daemon.stop(); s.Total.ReinjectFailed != 2 {
			t.Errorf("counters: %+v; want both further packets to be accepted as they were", s.Total.Counters)
		}
	})
}

// TestDNATBeforeTheQueue: nat OUTPUT comes before POSTROUTING, and a copy of what
// it has translated would be of another flow.
func TestDNATBeforeTheQueue(t *testing.T) {
	for _, dnat := range []config.DNATMode{config.DNATDrop, config.DNATOff} {
		t.Run(string(dnat), func(t *testing.T) {
			local, remote := kerneltest.VethPair(t)
			target := kerneltest.RemoteIPv4.Addr().As4()
			nat(t, nftables.ChainHookOutput, nftables.ChainPriorityNATDest,
				&expr.Immediate{Register: 1, Data: target[:]},
				&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1})
			cfg := testConfig()
			cfg.Rules.Placement, cfg.Guard.DNAT, cfg.Guard.EntryQueues = config.PlacementPostrouting, dnat, false
			cfg.Analysis = config.Analysis{Distribution: config.DistributionFixed, Delay: 3 * time.Millisecond, Per: config.PerFlow}
			r := &copyRig{t, local, remote, start(t, local, cfg)}
			in, out := r.listenRemote(remotes["IPv4"]), r.dial(netip.MustParseAddrPort("192.0.2.77:5300"))
			for _, payload := range []string{"one", "two", "three"} {
				r.write(out, payload)
			}
			want, clashed := []string{"one"}, uint64(0)
			if dnat == config.DNATOff {
				want, clashed = []string{"one", "two", "three"}, 2
			}
			r.want(in, want...)
			s := r.daemon.stop()
			if s.Total.Reinjected != 0 {
				t.Errorf("%d copies of translated packets were sent", s.Total.Reinjected)
			}
			if n := clashes(t); kerneltest.CountsClashes(t) && n != clashed {
				t.Errorf("%d clashes, want %d", n, clashed)
			}
		})
	}
}

// TestExactEntries: where the kernel attaches conntrack to packets, a packet of a
// confirmed flow passes at once, and one of an unconfirmed flow is sent anew.
func TestExactEntries(t *testing.T) {
	kerneltest.Namespace(t)
	q, err := nfq.OpenMmsg(nfq.Config{Conntrack: true})
	if errors.Is(err, unix.EOPNOTSUPP) {
		t.Skip("this kernel does not attach conntrack to packets (CONFIG_NETFILTER_NETLINK_GLUE_CT)")
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	eachFamily(t, func(t *testing.T, to netip.AddrPort) {
		r := newCopyRig(t, func(c *config.Config) { c.Queues.Conntrack = true })
		in, out := r.listenRemote(to), r.dial(to)
		for _, payload := range []string{"one", "two", "three"} {
			r.write(out, payload)
		}
		time.Sleep(20 * time.Millisecond) // less than the grace
		r.write(out, "four")
		r.want(in, "one", "two", "three", "four")
		s := r.daemon.stop()
		if c := s.Total.Counters; c.First != 1 || c.Reinjected != 2 || c.Accepted != 2 {
			t.Errorf("counters: %+v; want one first, two sent anew, and the last one to pass", c)
		}
		if n := clashes(t); n != 0 {
			t.Errorf("%d clashes", n)
		}
	})
}
