package ruleset

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"verdictd/internal/kernel/kerneltest"
)

// dnat rewrites destinations in a hook to an address.
func dnat(t *testing.T, ipv6 bool, hook *nftables.ChainHook, rule ...expr.Any) {
	t.Helper()
	of, number := nftables.TableFamilyIPv4, uint32(unix.NFPROTO_IPV4)
	_, remote, _ := ends(ipv6)
	if ipv6 {
		of, number = nftables.TableFamilyIPv6, unix.NFPROTO_IPV6
	}
	conn := &nftables.Conn{}
	table := conn.AddTable(&nftables.Table{Family: of, Name: "nat"})
	chain := conn.AddChain(&nftables.Chain{Table: table, Name: "nat", Type: nftables.ChainTypeNAT, Hooknum: hook, Priority: nftables.ChainPriorityNATDest})
	conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append(rule,
		&expr.Immediate{Register: 1, Data: remote.AsSlice()},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: number, RegAddrMin: 1})})
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
}

// The first packet of a flow is unconfirmed, those behind it and their answers
// are confirmed, with each fan-out and at each hook.
func TestEntries(t *testing.T) {
	for _, placement := range placements {
		if !placement.tracked() {
			continue
		}
		for _, fanout := range fanouts {
			if fanout != FanoutBalance && placement != PlacementOutput {
				continue // the fan-out does not look at the hook
			}
			t.Run(fmt.Sprintf("%s %s", placement, fanout), func(t *testing.T) {
				bothFamilies(t, func(t *testing.T, ipv6 bool) {
					ways := ways(t, placement, ipv6)
					c := udpRules(placement, fanout, fanoutQueues)
					c.Entries = testEntries
					l := listen(t, c, nil)
					install(t, c)
					expectTold(t, placement, c, l, ways)
				})
			})
		}
	}
}

// expectTold sends flows along each way and looks which queues their packets are
// in.
func expectTold(t *testing.T, placement Placement, c Config, l *listener, ways []way) {
	t.Helper()
	if !placement.tracked() {
		return
	}
	for _, w := range ways {
		f := open(t, w.from, w.to, at(w.address), 0)
		f.deliver()
		first := l.takeQueues()
		for range 2 {
			f.deliver()
		}
		second := l.takeQueues()
		f.answer()
		answers := l.takeQueues()
		if len(w.queued) == 0 {
			continue
		}
		if len(first) != 1 || len(second) != 2 {
			t.Fatalf("%s: first packet in queues %v, the next two in %v", w.name, first, second)
		}
		offset := testEntries.Unconfirmed
		if placement == PlacementInput && w.name == "to itself" {
			offset = testEntries.Confirmed // in POSTROUTING
		}
		within(t, w.name+": the first", c, offset, first...)
		within(t, w.name+": further ones", c, testEntries.Confirmed, second...)
		within(t, w.name+": answers", c, testEntries.Confirmed, answers...)
		if c.Fanout == FanoutPorts || c.Fanout == FanoutBalance {
			if a, b := first[0]-offset, second[0]-testEntries.Confirmed; a != b || second[0] != second[1] {
				t.Errorf("%s: one flow in queues %v and %v", w.name, first, second)
			}
		}
	}
}

// within checks that queues are those of an offset.
func within(t *testing.T, what string, c Config, offset uint16, queues ...uint16) {
	t.Helper()
	for _, q := range queues {
		if from := c.FirstQueue + offset; q < from || q >= from+c.Queues {
			t.Errorf("%s: queue %d, want %d to %d", what, q, from, from+c.Queues-1)
		}
	}
}

// Behind DNAT an unconfirmed packet has a queue of its own, packets of the same
// port that were not rewritten have not.
func TestEntriesBehindDNAT(t *testing.T) {
	bothFamilies(t, func(t *testing.T, ipv6 bool) {
		local, remote := kerneltest.VethPair(t)
		_, address, _ := ends(ipv6)
		other := address.Next()
		dnat(t, ipv6, nftables.ChainHookOutput,
			&expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: uint32(map[bool]int{false: 16, true: 24}[ipv6]), Len: uint32(other.BitLen() / 8), DestRegister: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: other.AsSlice()})
		c := udpRules(PlacementPostrouting, FanoutBalance, 1)
		c.Entries = testEntries
		l := listen(t, c, nil)
		install(t, c)
		f := open(t, local, remote, at(address), 0)
		f.deliver()
		within(t, "not rewritten", c, testEntries.Unconfirmed, l.takeQueues()...)
		port := f.server.LocalAddr().(*net.UDPAddr).AddrPort().Port()
		client, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(other, port)))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		for _, want := range []uint16{testEntries.Translated, testEntries.Confirmed} {
			if _, err := client.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if !f.receive(surely) {
				t.Fatal("a datagram that was to be rewritten was lost")
			}
			queues := l.takeQueues()
			if len(queues) != 1 {
				t.Errorf("queues %v, want one", queues)
			}
			within(t, "rewritten", c, want, queues...)
		}
	})
}

// What is not tracked has no entry to tell about.
func TestEntriesUntracked(t *testing.T) {
	ns := kerneltest.Namespace(t)
	c := udpRules(PlacementOutput, FanoutBalance, 1)
	c.Entries = testEntries
	l := listen(t, c, nil)
	install(t, c)
	exempt := udpRules(PlacementNotrack, FanoutBalance, 1)
	exempt.Table, exempt.FirstQueue, exempt.Bypass = "exempt", 99, true
	install(t, exempt)
	_, _, loopback := ends(false)
	f := open(t, ns, ns, at(loopback), 0)
	for range 2 {
		f.deliver()
	}
	if got := l.takeQueues(); !slices.Equal(got, []uint16{10, 10}) {
		t.Errorf("untracked packets in queues %v, want twice the first", got)
	}
}

// A rule that looks at entries keeps connection tracking active; the others leave
// it as it was.
func TestEntriesNeedTracking(t *testing.T) {
	for _, entries := range []*Entries{nil, testEntries} {
		t.Run(fmt.Sprint(entries != nil), func(t *testing.T) {
			kerneltest.Require(t)
			ns := namespace(t)
			leave, err := ns.Enter()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = leave() })
			c := udpRules(PlacementOutput, FanoutBalance, 1)
			c.Entries = entries
			l := listen(t, c, nil)
			install(t, c)
			_, _, loopback := ends(false)
			f := open(t, ns, ns, at(loopback), 0)
			f.deliver()
			if got := isTracked(t, f); got != (entries != nil) {
				t.Errorf("tracked is %v", got)
			}
			if queues := l.takeQueues(); len(queues) != 1 {
				t.Errorf("queues %v, want one", queues)
			}
		})
	}
}

func TestShowEntries(t *testing.T) {
	kerneltest.Namespace(t)
	c := udpRules(PlacementOutput, FanoutNumgen, 2)
	c.Entries = testEntries
	install(t, c)
	text, err := Show(c.Table)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`ct status & 0x8 != 0x0 goto queue-confirmed comment "verdictd: entry confirmed"`,
		`ct status & 0x20 != 0x0 goto queue-translated comment "verdictd: entry unconfirmed, behind DNAT"`,
		`ct status & 0x8 == 0x0 goto queue-unconfirmed comment "verdictd: entry unconfirmed"`,
		`map queues-confirmed { 0 : goto queue-16394, 1 : goto queue-16395 }`,
	} {
		if !strings.Contains(text, line) {
			t.Errorf("the line is missing: %s", line)
		}
	}
	if t.Failed() {
		t.Logf("shown:\n%s", text)
	}
}
