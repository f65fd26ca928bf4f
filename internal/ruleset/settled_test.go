package ruleset

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// tuple is a flow's, in the direction of its client.
func (f *flow) tuple() Tuple {
	ap := func(a net.Addr) netip.AddrPort {
		p := a.(*net.UDPAddr).AddrPort()
		return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
	}
	return tuple(ap(f.client.LocalAddr()), ap(f.client.RemoteAddr()))
}

func tuple(source, destination netip.AddrPort) Tuple {
	k := Tuple{0: 4, 1: unix.IPPROTO_UDP}
	if source.Addr().Is6() {
		k[0] = 6
	}
	copy(k[4:], source.Addr().AsSlice())
	copy(k[20:], destination.Addr().AsSlice())
	binary.BigEndian.PutUint16(k[36:], source.Port())
	binary.BigEndian.PutUint16(k[38:], destination.Port())
	return k
}

// many makes distinct flows of a family.
func many(ipv6 bool, n int) (flows []Tuple) {
	local, remote, _ := ends(ipv6)
	for i := range n {
		flows = append(flows, tuple(netip.AddrPortFrom(local, uint16(1000+i)), netip.AddrPortFrom(remote, uint16(53+i>>15))))
	}
	return flows
}

// elements counts what is listed of a family.
func elements(t *testing.T, i *Installed, ipv6Family bool) int {
	t.Helper()
	f := ipv4
	if ipv6Family {
		f = ipv6
	}
	list, err := (&nftables.Conn{}).GetSetElements(i.Settled().set(f))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// Packets of a listed flow pass, in both directions; others do not.
func TestSettledPass(t *testing.T) {
	among := testGate()
	among.Traffic[0].Protocols = vocabulary.GateProtocols()
	for name, g := range map[string]Gate{"UDP alone": testGate(), "among others": among, "no zones": unzoned()} {
		t.Run(name, func(t *testing.T) {
			bothFamilies(t, func(t *testing.T, ipv6 bool) {
				local, remote := testkit.VethPair(t)
				i, l := guarded(t, g)
				_, address, _ := ends(ipv6)
				f, other := open(t, local, remote, at(address)), open(t, local, remote, at(address))
				f.deliver()
				expectQueues(t, "before", l, arrivals)
				if err := i.Settled().Add([]Tuple{f.tuple()}); err != nil {
					t.Fatal(err)
				}
				for range 3 {
					f.deliver()
					f.answer()
				}
				expectQueues(t, "listed", l)
				other.deliver()
				expectQueues(t, "another flow", l, arrivals)
				if err := i.Settled().Delete([]Tuple{f.tuple()}); err != nil {
					t.Fatal(err)
				}
				f.deliver()
				f.answer()
				expectQueues(t, "taken out", l, arrivals, arrivals)
			})
		})
	}
}

// An element lives on while packets pass, and no longer.
func TestSettledRefresh(t *testing.T) {
	bothFamilies(t, func(t *testing.T, ipv6 bool) {
		const longest = 7 * time.Second
		for timeout := 400 * time.Millisecond; timeout < longest; timeout *= 2 {
			if refreshed(t, ipv6, timeout) {
				return
			}
		}
		t.Fatalf("in half of %v there are fewer than %d packets", longest, refreshOneIn)
	})
}

// refreshed tries it with a timeout. It is false where the machine is too busy to send packets as often as that takes,
// which says nothing of the element.
func refreshed(t *testing.T, ipv6 bool, timeout time.Duration) bool {
	ns := testkit.Namespace(t)
	g := testGate()
	g.SettledTimeout = timeout
	i, l := guarded(t, g)
	_, _, loopback := ends(ipv6)
	f := open(t, ns, ns, at(loopback))
	f.deliver()
	l.take()
	last := time.Now()
	if err := i.Settled().Add([]Tuple{f.tuple()}); err != nil {
		t.Fatal(err)
	}
	// Some 1,000 packets in each timeout: one in 31 of them is enough.
	for n, end := 1, last.Add(4*timeout); time.Now().Before(end); n++ {
		f.deliver()
		now := time.Now()
		if now.Sub(last) > timeout/2 {
			return false
		}
		if n%refreshOneIn == 0 {
			last = now
		}
		time.Sleep(200 * time.Microsecond)
	}
	expectQueues(t, "while packets pass", l)
	time.Sleep(timeout + timeout/2)
	f.deliver()
	expectQueues(t, "after a pause", l, arrivals)
	return true
}

// A listed flow that has lost its entry: the packet that begins it again is
// announced, and both directions are off the list.
func TestAnnouncement(t *testing.T) {
	bothFamilies(t, func(t *testing.T, ipv6 bool) {
		local, remote := testkit.VethPair(t)
		i, l := guarded(t, testGate())
		_, address, _ := ends(ipv6)
		f, other := open(t, local, remote, at(address)), open(t, local, remote, at(address))
		if err := i.Settled().Add([]Tuple{f.tuple(), other.tuple()}); err != nil {
			t.Fatal(err)
		}
		f.deliver()
		expectQueues(t, "without an entry", l, announcements)
		if n := elements(t, i, ipv6); n != 2 {
			t.Errorf("%d elements are left, want the other flow's 2", n)
		}
		f.deliver()
		f.answer()
		expectQueues(t, "afterwards", l, arrivals, arrivals)
	})
}

// The same for a flow that begins with a packet received.
func TestAnnouncementReceived(t *testing.T) {
	bothFamilies(t, func(t *testing.T, ipv6 bool) {
		local, remote := testkit.VethPair(t)
		g := testGate()
		g.Queues = 2
		i, l := guarded(t, g)
		address, _, _ := ends(ipv6)
		f := open(t, remote, local, at(address))
		if err := i.Settled().Add([]Tuple{f.tuple()}); err != nil {
			t.Fatal(err)
		}
		f.deliver()
		first := l.takeQueues()
		f.deliver()
		second := l.takeQueues()
		if len(first) != 1 || len(second) != 1 || first[0] != second[0]+2 {
			t.Errorf("announced in queue %v, next packet in %v: want the same worker's", first, second)
		}
	})
}

// A packet of a zone is not taken for the listed one of none, before or behind the
// lookup.
func TestSettledZones(t *testing.T) {
	bothFamilies(t, func(t *testing.T, ipv6 bool) {
		ns := testkit.Namespace(t)
		g := testGate()
		five := uint16(5)
		g.Zones, g.TemplateZone = []uint16{5}, &five
		i, l := guarded(t, g)
		rawRule(t, inZone(5)...)
		_, _, loopback := ends(ipv6)
		f := open(t, ns, ns, at(loopback))
		if err := i.Settled().Add([]Tuple{f.tuple()}); err != nil {
			t.Fatal(err)
		}
		f.deliver()
		f.deliver()
		expectQueues(t, "listed without its zone", l, arrivals+1, arrivals+1)
		if n := elements(t, i, ipv6); n != 2 {
			t.Errorf("%d elements, want 2", n)
		}
	})
}

// Behind DNAT and in front of it both sides are listed as they are on the wire.
func TestSettledNAT(t *testing.T) {
	bothFamilies(t, func(t *testing.T, ipv6 bool) {
		client, server, address := routed(t, ipv6)
		virtual := address.Next().Next()
		dnat(t, ipv6, address)
		i, l := guarded(t, testGate())
		f := open(t, client, server, at(address))
		back := f.server.LocalAddr().(*net.UDPAddr).AddrPort()
		toVirtual := net.UDPAddrFromAddrPort(netip.AddrPortFrom(virtual, back.Port()))
		err := client.Do(func() (err error) { f.client, err = net.DialUDP("udp", nil, toVirtual); return err })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.client.Close() })
		f.deliver()
		f.answer()
		expectQueues(t, "before", l, arrivals, arrivals)
		source := netip.AddrPortFrom(f.client.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(), f.client.LocalAddr().(*net.UDPAddr).AddrPort().Port())
		answers := tuple(netip.AddrPortFrom(address, back.Port()), source)
		if err := i.Settled().Add([]Tuple{f.tuple(), answers}); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			f.deliver()
			f.answer()
		}
		expectQueues(t, "listed", l)
	})
}

// dnat sends what is not for the router or its hosts' own addresses to an address.
func dnat(t *testing.T, ipv6 bool, to netip.Addr) {
	t.Helper()
	of, number, f := nftables.TableFamilyIPv4, uint32(unix.NFPROTO_IPV4), addressesIPv4
	if ipv6 {
		of, number, f = nftables.TableFamilyIPv6, unix.NFPROTO_IPV6, addressesIPv6
	}
	virtual := to.Next().Next()
	conn := &nftables.Conn{}
	table := conn.AddTable(&nftables.Table{Family: of, Name: "nat"})
	chain := conn.AddChain(&nftables.Chain{Table: table, Name: "nat", Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityNATDest})
	conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: f.offset + f.length/2, Len: f.length / 2, DestRegister: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: virtual.AsSlice()},
		&expr.Immediate{Register: 1, Data: to.AsSlice()},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: number, RegAddrMin: 1},
	}})
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
}

// A full set refuses the whole of what does not fit, and keeps what it has.
func TestSettledFull(t *testing.T) {
	bothFamilies(t, func(t *testing.T, ipv6 bool) {
		testkit.Namespace(t)
		i, _ := guarded(t, testGate()) // 64 elements: 32 flows
		s, flows := i.Settled(), many(ipv6, 40)
		if err := s.Add(flows[:30]); err != nil {
			t.Fatal(err)
		}
		if err := s.Add(flows[30:33]); !errors.Is(err, ErrFull) {
			t.Errorf("error %v, want %v", err, ErrFull)
		}
		if n := elements(t, i, ipv6); n != 60 {
			t.Errorf("%d elements, want 60", n)
		}
		if err := s.Add(flows[30:32]); err != nil {
			t.Errorf("the last that fit: %v", err)
		}
		if err := s.Add(flows[:32]); err != nil {
			t.Errorf("listed already: %v", err)
		}
		if err := s.Delete(flows[10:]); err != nil { // 22 that are listed, 8 that are not
			t.Error(err)
		}
		if n := elements(t, i, ipv6); n != 20 {
			t.Errorf("%d elements, want 20", n)
		}
	})
}

// Thousands of flows are one transaction; what is no UDP is left out.
func TestSettledMany(t *testing.T) {
	testkit.Namespace(t)
	g := testGate()
	g.SettledSize = 1 << 16
	i, _ := guarded(t, g)
	for _, ipv6 := range []bool{false, true} {
		flows := many(ipv6, 5000)
		flows[0][1] = unix.IPPROTO_UDPLITE
		if err := i.Settled().Add(flows); err != nil {
			t.Fatal(err)
		}
		if n := elements(t, i, ipv6); n != 2*4999 {
			t.Errorf("%d elements, want %d", n, 2*4999)
		}
		if err := i.Settled().Delete(flows); err != nil {
			t.Fatal(err)
		}
		if n := elements(t, i, ipv6); n != 0 {
			t.Errorf("%d elements are left", n)
		}
	}
}

// The sets of a table that somebody else made are used, if they fit.
func TestOpenSettled(t *testing.T) {
	testkit.Namespace(t)
	if _, err := OpenSettled("mine"); !errors.Is(err, ErrNoSettled) {
		t.Errorf("no table: error %v", err)
	}
	conn := &nftables.Conn{}
	table := conn.AddTable(&nftables.Table{Name: "mine", Family: family})
	sets := (&Settled{table: "mine"})
	for _, f := range families {
		s := sets.set(f)
		s.Table, s.Timeout, s.Size = table, time.Second, 10
		if f == ipv6 {
			s.KeyType = ipv4.keyType()
		}
		if err := conn.AddSet(s, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenSettled("mine"); !errors.Is(err, ErrNoSettled) || !strings.Contains(err.Error(), "settled-ipv6") {
		t.Errorf("a wrong type: error %v", err)
	}
}

// TestCount: elements of both families, and of many messages.
func TestCount(t *testing.T) {
	testkit.Namespace(t)
	i, err := Install(Config{
		Table: "verdictd", Placement: vocabulary.PlacementNone, Fanout: vocabulary.FanoutBalance, Queues: 1, IPv4: true, IPv6: true,
		Gate: &Gate{FirstQueue: 61440, Queues: 1, Settled: true, SettledSize: 1 << 13, SettledTimeout: time.Minute,
			Traffic: []Traffic{{IPv4: true, IPv6: true, Protocols: []uint8{unix.IPPROTO_UDP}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := i.Settled().Count(); err != nil || n != 0 {
		t.Errorf("%d elements in sets without any (%v)", n, err)
	}
	if err := errors.Join(i.Settled().Add(many(false, 3000)), i.Settled().Add(many(true, 10))); err != nil {
		t.Fatal(err)
	}
	if n, err := i.Settled().Count(); err != nil || n != 2*3010 {
		t.Errorf("%d elements for 3010 flows (%v)", n, err)
	}
	if err := i.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := i.Settled().Count(); err == nil {
		t.Error("sets that are gone are counted")
	}
}
