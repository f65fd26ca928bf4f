package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/ti-mo/conntrack"
	"golang.org/x/sys/unix"

	"verdictd/internal/config"
	"verdictd/internal/kernel"
	"verdictd/internal/kernel/kerneltest"
	"verdictd/internal/liverules"
	"verdictd/internal/nfq"
	"verdictd/internal/ruleset"
)

// TestAnswersBehindNAT: in FORWARD they carry another tuple than the table has, so
// that only their queue can tell that they are confirmed.
func TestAnswersBehindNAT(t *testing.T) {
	for name, ipv6 := range map[string]bool{"IPv4": false, "IPv6": true} {
		for _, entries := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, entry queues %v", name, entries), func(t *testing.T) {
				r := newRouter(t, ipv6)
				if err := r.ns.Masquerade(outerLink); err != nil {
					t.Fatal(err)
				}
				cfg := forwardConfig()
				cfg.Rules.DestinationPorts = nil // answers are to be judged as well
				cfg.Guard.EntryQueues = entries
				d := start(t, r.ns, cfg)
				in, out := r.sockets()
				const sent, answered = 3, 20
				for i := range sent {
					if _, err := fmt.Fprint(out, i); err != nil {
						t.Fatal(err)
					}
				}
				var from netip.AddrPort
				for i := range sent {
					text, source := receiveFrom(t, in)
					if text != fmt.Sprint(i) || from.IsValid() && source != from || source.Addr() != r.outside {
						t.Errorf("packet %d: %q from %v, the one before from %v", i, text, source, from)
					}
					from = source
				}
				for i := range answered {
					if _, err := in.WriteToUDPAddrPort([]byte(fmt.Sprint(i)), from); err != nil {
						t.Fatal(err)
					}
				}
				for i := range answered {
					if text, _ := receiveFrom(t, out); text != fmt.Sprint(i) {
						t.Errorf("answer %d: %q", i, text)
					}
				}
				c := d.stop().Total.Counters
				if c.Received != sent+answered || c.ReinjectFailed+c.Unguarded != 0 {
					t.Errorf("counters: %+v", c)
				}
				switch {
				case entries && (c.EntryKnown != c.Received || c.LookedUp != c.Reinjected || c.GivenBack != 0):
					t.Errorf("counters: %+v; want all entries to be known, and look-ups for copies alone", c)
				case !entries && (c.EntryKnown != 0 || c.GivenBack == 0):
					t.Errorf("counters: %+v; want answers to be looked up in vain where nobody tells", c)
				}
				if n := clashes(t); n != 0 {
					t.Errorf("%d clashes", n)
				}
			})
		}
	}
}

func receiveFrom(t *testing.T, c *net.UDPConn) (string, netip.AddrPort) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n]), netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
}

// newEntryRig is newCopyRig with queues that tell.
func newEntryRig(t *testing.T, change func(*config.Config)) *copyRig {
	t.Helper()
	return newCopyRig(t, func(c *config.Config) {
		c.Guard.EntryQueues = true
		c.Analysis.Delay = 50 * time.Millisecond // in which the sender sends the rest
		if change != nil {
			change(c)
		}
	})
}

// TestEntriesSettleAtOnce: the packet after the answer passes, though it comes
// within the grace.
func TestEntriesSettleAtOnce(t *testing.T) {
	eachFamily(t, func(t *testing.T, to netip.AddrPort) {
		r := newEntryRig(t, func(c *config.Config) { c.Guard.Grace, c.Guard.Idle = time.Hour, 2*time.Hour })
		in, out := r.listenRemote(to), r.dial(to)
		for _, payload := range []string{"one", "two", "three"} {
			r.write(out, payload)
		}
		r.want(in, "one", "two", "three")
		for _, payload := range []string{"four", "five"} {
			r.write(out, payload)
		}
		r.want(in, "four", "five")
		if c := r.daemon.stop().Total.Counters; c.First != 1 || c.Reinjected != 2 || c.Accepted != 3 || c.EntryKnown != 5 {
			t.Errorf("counters: %+v; want one first, two sent anew, and two to pass", c)
		}
		if n := clashes(t); n != 0 {
			t.Errorf("%d clashes", n)
		}
	})
}

// TestFlushedTable: conntrack forgets a flow that has settled, as an operator's
// `conntrack -F` has it do.
func TestFlushedTable(t *testing.T) {
	eachFamily(t, func(t *testing.T, to netip.AddrPort) {
		r := newEntryRig(t, func(c *config.Config) { c.Analysis.Per = config.PerPacket })
		in, out := r.listenRemote(to), r.dial(to)
		conn, err := conntrack.Dial(nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		for range 3 {
			for _, payload := range []string{"one", "two", "three"} {
				r.write(out, payload)
			}
			r.want(in, "one", "two", "three")
			if err := conn.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		r.done(6)
	})
}

// TestDNATBesideTheQueue: only what DNAT has changed is dropped.
func TestDNATBesideTheQueue(t *testing.T) {
	r := newEntryRig(t, func(c *config.Config) { c.Rules.Placement = config.PlacementPostrouting })
	before, target := netip.MustParseAddr("192.0.2.77").As4(), kerneltest.RemoteIPv4.Addr().As4()
	nat(t, nftables.ChainHookOutput, nftables.ChainPriorityNATDest,
		&expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4, DestRegister: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: before[:]},
		&expr.Immediate{Register: 1, Data: target[:]},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1})
	in := r.listenRemote(remotes["IPv4"])
	for _, test := range []struct {
		to   netip.AddrPort
		want []string
	}{
		{netip.AddrPortFrom(netip.AddrFrom4(before), port), []string{"one"}},
		{remotes["IPv4"], []string{"one", "two", "three"}},
	} {
		out := r.dial(test.to)
		for _, payload := range []string{"one", "two", "three"} {
			r.write(out, payload)
		}
		r.want(in, test.want...)
		if len(test.want) == 1 { // confirmed by now
			r.write(out, "four")
			r.want(in, "four")
		}
	}
	s := r.daemon.stop()
	if c := s.Total.Counters; c.GuardDropped != 2 || c.Reinjected != 2 || c.Unguarded != 0 {
		t.Errorf("counters: %+v; want two of one flow dropped and two of the other sent anew", c)
	}
	if n := clashes(t); n != 0 {
		t.Errorf("%d clashes", n)
	}
}

// TestDroppedByTurns: behind a queue in FORWARD, a rule in POSTROUTING drops every
// third packet. A copy that it drops stands for its packet.
func TestDroppedByTurns(t *testing.T) {
	r := newRouter(t, false)
	filter(t, nftables.ChainHookPostrouting,
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_UDP}},
		&expr.Numgen{Register: 1, Modulus: 3, Type: unix.NFT_NG_INCREMENTAL},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(2)},
		&expr.Verdict{Kind: expr.VerdictDrop})
	cfg := forwardConfig()
	cfg.Analysis.Delay = 50 * time.Millisecond // in which the sender sends the rest
	d := start(t, r.ns, cfg)
	in, out := r.sockets()
	const sent = 9
	for i := range sent {
		if _, err := fmt.Fprint(out, i); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"0", "1", "3", "4", "6", "7"} {
		if text, _ := receiveFrom(t, in); text != want {
			t.Errorf("received %q, want %q", text, want)
		}
	}
	if c := d.stop().Total.Counters; c.Received != sent || c.Reinjected != 5 || c.Filtered != 3 || c.ReinjectFailed != 0 {
		t.Errorf("counters: %+v; want 5 copies to come through and 3 to be dropped", c)
	}
	if n := clashes(t); n != 0 {
		t.Errorf("%d clashes", n)
	}
}

// TestZones: in FORWARD nobody can look up a flow that is in a zone, which the
// daemon says; but the queue tells which of its packets are confirmed.
func TestZones(t *testing.T) {
	r := newRouter(t, false)
	conn := &nftables.Conn{}
	table := conn.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "zones"})
	raw := nftables.ChainPriority(-300)
	chain := conn.AddChain(&nftables.Chain{Table: table, Name: "pre", Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookPrerouting, Priority: &raw})
	conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Immediate{Register: 1, Data: binaryutil.NativeEndian.PutUint16(7)},
		&expr.Ct{Key: expr.CtKeyZONE, Register: 1, SourceRegister: true},
	}})
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	cfg := forwardConfig()
	g := planGuard(t.Context(), cfg)
	if text := strings.Join(g.warnings, "\n"); !strings.Contains(text, "nftables rule inet zones pre") || !strings.Contains(text, "conntrack zone") {
		t.Errorf("warnings %q, want one of the zone", text)
	}
	cfg.Analysis.Delay = 50 * time.Millisecond // in which the sender sends the rest
	d := start(t, r.ns, cfg)
	in, out := r.sockets()
	for _, burst := range [][]string{{"one", "two"}, {"three", "four"}} {
		for _, payload := range burst {
			if _, err := fmt.Fprint(out, payload); err != nil {
				t.Fatal(err)
			}
		}
		for _, want := range burst {
			if text, _ := receiveFrom(t, in); text != want {
				t.Errorf("received %q, want %q", text, want)
			}
		}
	}
	if c := d.stop().Total.Counters; c.First != 1 || c.GivenBack != 1 || c.LookedUp != 1 || c.Accepted != 3 {
		t.Errorf("counters: %+v; want one look-up in vain, and later packets to pass", c)
	}
	if n := clashes(t); kerneltest.CountsClashes(t) && n != 1 {
		t.Errorf("%d clashes; want the one that the daemon has warned of", n)
	}
}

// TestMarksAndRoutesStay: what tells about entries leaves no trace on a packet, so
// that rules by its mark match, and its route stays the one that its sender chose:
// a packet whose mark a verdict changes in OUTPUT is routed anew, by its address.
func TestMarksAndRoutesStay(t *testing.T) {
	r := newEntryRig(t, nil)
	if err := kernel.AddVeth(
		kernel.Endpoint{NetNS: r.local, Link: "other0", Addresses: []netip.Prefix{netip.MustParsePrefix("198.51.100.1/24")}},
		kernel.Endpoint{NetNS: r.remote, Link: "other1", Addresses: []netip.Prefix{netip.MustParsePrefix("198.51.100.2/24")}},
	); err != nil {
		t.Fatal(err)
	}
	device, err := net.InterfaceByName("other0")
	if err != nil {
		t.Fatal(err)
	}
	const mark = 0x20000005
	conn := &nftables.Conn{}
	table := conn.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "counted"})
	chain := conn.AddChain(&nftables.Chain{
		Table: table, Name: "post", Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityFilter,
	})
	conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(mark)},
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: append([]byte("other0"), make([]byte, unix.IFNAMSIZ-6)...)},
		&expr.Counter{},
	}})
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	// The address is the other link's, and only IP_PKTINFO sends it this way.
	out := r.dial(remotes["IPv4"])
	option(t, out, unix.SOL_SOCKET, unix.SO_MARK, mark, true)
	raw, err := out.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	info := unix.PktInfo4(&unix.Inet4Pktinfo{Ifindex: int32(device.Index)})
	const sent = 3 // each of a flow's first, as its analysis waits for none
	for range sent {
		if err := raw.Control(func(fd uintptr) {
			if err := unix.Sendmsg(int(fd), []byte("hey"), info, nil, 0); err != nil {
				t.Error(err)
			}
		}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(60 * time.Millisecond) // longer than the analysis
	}
	c := r.daemon.stop().Total.Counters
	rules, err := conn.GetRules(table, chain)
	if err != nil {
		t.Fatal(err)
	}
	if n := rules[0].Exprs[4].(*expr.Counter).Packets; n != c.Accepted || c.Received != sent || c.EntryKnown != sent {
		t.Errorf("%d packets left with their mark through the interface chosen, want %d; %+v", n, c.Accepted, c)
	}
}

// TestEntriesOnlyWhereTracked: the daemon does not make connections be tracked.
func TestEntriesOnlyWhereTracked(t *testing.T) {
	for _, tracked := range []bool{false, true} {
		t.Run(fmt.Sprint(tracked), func(t *testing.T) {
			kerneltest.Require(t)
			ns := newNamespace(t)
			if tracked {
				if err := ns.ActivateConntrack(); err != nil {
					t.Fatal(err)
				}
			}
			d := start(t, ns, testConfig())
			err := ns.Do(func() error {
				text, err := ruleset.Show(testConfig().Rules.Table)
				if strings.Contains(text, "ct status") != tracked {
					t.Errorf("rules:\n%s", text)
				}
				rules, _ := liverules.Read()
				if active := rules.Conntrack.IPv4 == liverules.Yes; active != tracked {
					t.Errorf("connection tracking: %+v", rules.Conntrack)
				}
				queues, listErr := nfq.ReadKernelQueues()
				if want := len(queueOffsets(tracked)); listErr != nil || len(queues) != want {
					t.Errorf("queues %v, %v; want %d", queues, listErr, want)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
			d.stop()
		})
	}
}

// TestOperatorsRulesTell: rules of the operator's own may use the queues that tell.
func TestOperatorsRulesTell(t *testing.T) {
	cfg := testConfig()
	cfg.Rules.Install = false
	r := newEntryRig(t, func(c *config.Config) {
		c.Rules.Install = false
		own := rulesConfig(testConfig(), true)
		own.Table = "operator"
		if _, err := ruleset.Install(own); err != nil {
			t.Fatal(err)
		}
	})
	to := remotes["IPv6"]
	in, out := r.listenRemote(to), r.dial(to)
	for _, payload := range []string{"one", "two", "three"} {
		r.write(out, payload)
	}
	r.want(in, "one", "two", "three")
	unserved := func(change func(*config.Config)) string {
		c := *cfg
		change(&c)
		g := planGuard(t.Context(), &c)
		return strings.Join(g.warnings, "\n")
	}
	if text := unserved(func(*config.Config) {}); strings.Contains(text, "does not serve") {
		t.Errorf("warnings %q, though all queues are served", text)
	}
	for _, change := range []func(*config.Config){
		func(c *config.Config) { c.Guard.EntryQueues = false },
		func(c *config.Config) { c.Backend = config.BackendGoNFQueue },
	} {
		if text := unserved(change); !strings.Contains(text, "queue 16384") || !strings.Contains(text, "does not serve") {
			t.Errorf("warnings %q, want one that a queue is not served", text)
		}
	}
	if c := r.daemon.stop().Total.Counters; c.EntryKnown != 3 || c.Reinjected != 2 {
		t.Errorf("counters: %+v", c)
	}
}

// TestEntryQueueTaken: the error says what wants the number.
func TestEntryQueueTaken(t *testing.T) {
	ns := kerneltest.Namespace(t)
	q, err := nfq.OpenMmsg(nfq.Config{Queue: config.UnconfirmedQueues})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = q.Close() }()
	err = ns.Do(func() error { return run(t.Context(), testConfig(), slog.New(slog.DiscardHandler)) })
	if err == nil || !strings.Contains(err.Error(), "queue 32768") || !strings.Contains(err.Error(), "guard.entry_queues") {
		t.Errorf("%v; want the number and the setting", err)
	}
}
