package ruleset

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// Numbers of testGate's queues, with one queue and no zones.
const (
	arrivals      = 100
	announcements = 101
)

// testGate is a gate for all UDP, with a settled set.
func testGate() Gate {
	return Gate{
		FirstQueue: arrivals, Queues: 1,
		Traffic: []Traffic{{IPv4: true, IPv6: true, Protocols: []uint8{unix.IPPROTO_UDP}}},
		Settled: true, SettledSize: 64, SettledTimeout: time.Minute,
	}
}

// unzoned is testGate where no rule sets zones.
func unzoned() Gate {
	g, zone := testGate(), uint16(0)
	g.TemplateZone = &zone
	return g
}

// gateAlone is a table with nothing but a gate.
func gateAlone(g Gate) Config {
	return Config{Table: "verdictd-guard", Placement: vocabulary.PlacementNone, Gate: &g}
}

// guarded installs a gate and serves its queues.
func guarded(t *testing.T, g Gate) (*Installed, *listener) {
	t.Helper()
	c := gateAlone(g)
	l := listen(t, c, nil)
	i := install(t, c)
	if err := i.NoSettled(); err != nil {
		t.Fatal(err)
	}
	return i, l
}

func expectQueues(t *testing.T, what string, l *listener, want ...uint16) {
	t.Helper()
	if got := l.takeQueues(); !slices.Equal(got, want) {
		t.Errorf("%s: in queues %v, want %v", what, got, want)
	}
}

// rawRule puts a rule of another program before the gate, in OUTPUT and PREROUTING.
func rawRule(t *testing.T, expressions ...expr.Any) {
	t.Helper()
	conn := &nftables.Conn{}
	table := conn.AddTable(&nftables.Table{Family: family, Name: "raw"})
	for name, hook := range map[string]*nftables.ChainHook{"output": nftables.ChainHookOutput, "prerouting": nftables.ChainHookPrerouting} {
		chain := conn.AddChain(&nftables.Chain{Table: table, Name: name, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: nftables.ChainPriorityRaw})
		conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: expressions})
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
}

// inZone has all packets tracked in a zone.
func inZone(id byte) []expr.Any {
	return []expr.Any{
		&expr.Immediate{Register: 1, Data: []byte{id, 0}},
		&expr.Ct{Key: expr.CtKeyZONE, Register: 1, SourceRegister: true},
	}
}

// Which packets enter the gate, by what it selects.
func TestGateSelection(t *testing.T) {
	udp := []uint8{unix.IPPROTO_UDP}
	for _, test := range []struct {
		name   string
		change func(*Gate)
		ipv6   bool
		port   uint16
		enters bool
	}{
		{name: "UDP, IPv4", enters: true},
		{name: "UDP, IPv6", ipv6: true, enters: true},
		{name: "no zones", change: func(g *Gate) { *g = unzoned() }, enters: true},
		{name: "nothing selected", change: func(g *Gate) { g.Traffic = nil }},
		{name: "no settled set", change: func(g *Gate) { g.Settled = false }, enters: true},
		{name: "another protocol", change: func(g *Gate) { g.Traffic[0].Protocols = []uint8{unix.IPPROTO_GRE} }},
		{name: "among protocols", change: func(g *Gate) { g.Traffic[0].Protocols = vocabulary.GateProtocols() }, enters: true},
		{name: "among protocols, IPv6", change: func(g *Gate) { g.Traffic[0].Protocols = vocabulary.GateProtocols() }, ipv6: true, enters: true},
		{name: "IPv4 only, IPv6", change: func(g *Gate) { g.Traffic[0].IPv6 = false }, ipv6: true},
		{name: "IPv4 only, IPv4", change: func(g *Gate) { g.Traffic[0].IPv6 = false }, enters: true},
		{name: "IPv6 only, IPv4", change: func(g *Gate) { g.Traffic[0].IPv4 = false }},
		{name: "IPv6 only, IPv6", change: func(g *Gate) { g.Traffic[0].IPv4 = false }, ipv6: true, enters: true},
		{name: "port", change: func(g *Gate) { g.Traffic[0].Ports = []vocabulary.PortRange{vocabulary.Ports(53, 53)} }, port: 53, enters: true},
		{name: "port, IPv6", change: func(g *Gate) { g.Traffic[0].Ports = []vocabulary.PortRange{vocabulary.Ports(53, 53)} }, ipv6: true, port: 53, enters: true},
		{name: "another port", change: func(g *Gate) { g.Traffic[0].Ports = []vocabulary.PortRange{vocabulary.Ports(53, 53)} }, port: 54},
		{name: "in a range", change: func(g *Gate) {
			g.Traffic[0].Ports = []vocabulary.PortRange{vocabulary.Ports(1, 10), vocabulary.Ports(50, 60), vocabulary.Ports(61, 70)}
		}, port: 70, enters: true},
		{name: "in the last range", change: func(g *Gate) {
			g.Traffic[0].Ports = []vocabulary.PortRange{vocabulary.Ports(1, 10), vocabulary.Ports(65000, 65535)}
		}, port: 65535, enters: true},
		{name: "behind a range", change: func(g *Gate) { g.Traffic[0].Ports = []vocabulary.PortRange{vocabulary.Ports(50, 60)} }, port: 61},
		{name: "in the second traffic", change: func(g *Gate) {
			g.Traffic = []Traffic{{IPv6: true, Protocols: udp}, {IPv4: true, Protocols: udp, Ports: []vocabulary.PortRange{vocabulary.Ports(53, 53)}}}
		}, port: 53, enters: true},
		{name: "exempt", change: func(g *Gate) { g.ExemptPorts = []uint16{5353, 53} }, port: 53},
		{name: "not exempt", change: func(g *Gate) { g.ExemptPorts = []uint16{53} }, port: 54, enters: true},
		{name: "exempt among protocols, IPv6", change: func(g *Gate) { g.ExemptPorts, g.Traffic[0].Protocols = []uint16{53}, vocabulary.GateProtocols() }, ipv6: true, port: 53},
	} {
		t.Run(test.name, func(t *testing.T) {
			ns := testkit.Namespace(t)
			g := testGate()
			if test.change != nil {
				test.change(&g)
			}
			_, l := guarded(t, g)
			_, _, loopback := ends(test.ipv6)
			f := open(t, ns, ns, netip.AddrPortFrom(loopback, test.port))
			f.deliver()
			var want []uint16
			if test.enters {
				want = []uint16{arrivals} // once: in OUTPUT, not again behind lo
			}
			expectQueues(t, "to the port", l, want...)
			f.answer()
			expectQueues(t, "from the port", l, want...)
		})
	}
}

// Packets that are sent, received and passed on enter, each once.
func TestGateHooks(t *testing.T) {
	bothFamilies(t, func(t *testing.T, ipv6 bool) {
		local, remote := testkit.VethPair(t)
		_, l := guarded(t, testGate())
		localAddress, remoteAddress, _ := ends(ipv6)
		sent := open(t, local, remote, at(remoteAddress))
		sent.deliver()
		if got := seenAt(l.take()); !slices.Equal(got, []uint8{unix.NF_INET_LOCAL_OUT}) {
			t.Errorf("sent: in hooks %v", got)
		}
		sent.answer()
		if got := seenAt(l.take()); !slices.Equal(got, []uint8{unix.NF_INET_PRE_ROUTING}) {
			t.Errorf("its answer: in hooks %v", got)
		}
		open(t, remote, local, at(localAddress)).deliver()
		if got := seenAt(l.take()); !slices.Equal(got, []uint8{unix.NF_INET_PRE_ROUTING}) {
			t.Errorf("received: in hooks %v", got)
		}
	})
	bothFamilies(t, func(t *testing.T, ipv6 bool) {
		client, server, address := routed(t, ipv6)
		_, l := guarded(t, testGate())
		open(t, client, server, at(address)).deliver()
		if got := seenAt(l.take()); !slices.Equal(got, []uint8{unix.NF_INET_PRE_ROUTING}) {
			t.Errorf("passed on: in hooks %v", got)
		}
	})
}

// Both directions of a flow meet the same one of the gate's queues.
func TestGateFanout(t *testing.T) {
	bothFamilies(t, func(t *testing.T, ipv6 bool) {
		local, remote := testkit.VethPair(t)
		g := testGate()
		g.Queues = 4
		_, l := guarded(t, g)
		_, address, _ := ends(ipv6)
		for range 8 {
			address = address.Next()
			if err := remote.AddAddress("lo", netip.PrefixFrom(address, address.BitLen())); err != nil {
				t.Fatal(err)
			}
			if err := local.AddRoute(netip.PrefixFrom(address, address.BitLen()), kernelRemote(ipv6)); err != nil {
				t.Fatal(err)
			}
			f := open(t, local, remote, at(address))
			f.deliver()
			f.answer()
			if got := l.takeQueues(); len(got) != 2 || got[0] != got[1] || got[0] < arrivals || got[0] >= arrivals+4 {
				t.Errorf("there and back in queues %v, want twice the same of 4", got)
			}
		}
	})
}

func kernelRemote(ipv6 bool) netip.Addr {
	_, remote, _ := ends(ipv6)
	return remote
}

// Of ICMP only queries enter: no errors, no answers, no neighbour discovery.
func TestGateICMP(t *testing.T) {
	bothFamilies(t, func(t *testing.T, ipv6 bool) {
		local, remote := testkit.VethPair(t)
		g := testGate()
		g.Traffic[0].Protocols = []uint8{unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6}
		_, l := guarded(t, g)
		for i := range 3 {
			ping(t, ipv6, byte(i))
		}
		expectQueues(t, "three echoes", l, arrivals, arrivals, arrivals)
		localAddress, _, _ := ends(ipv6)
		expectRefused(t, local, remote, localAddress)
		expectQueues(t, "an error and the neighbours' messages", l)
	})
}

// expectRefused sends to a closed port: the answer is an ICMP error.
func expectRefused(t *testing.T, to, from *netlab.NetNS, address netip.Addr) {
	t.Helper()
	f := open(t, from, to, at(address))
	f.server.Close()
	f.send(1)
	if err := f.client.SetReadDeadline(time.Now().Add(surely)); err != nil {
		t.Fatal(err)
	}
	if _, err := f.client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("sent to a closed port: %v, want %v", err, syscall.ECONNREFUSED)
	}
}

// What is not tracked does not enter.
func TestGateUntracked(t *testing.T) {
	for name, g := range map[string]Gate{"perhaps zones": testGate(), "no zones": unzoned()} {
		t.Run(name, func(t *testing.T) {
			bothFamilies(t, func(t *testing.T, ipv6 bool) {
				ns := testkit.Namespace(t)
				_, l := guarded(t, g)
				rawRule(t, &expr.Notrack{})
				_, _, loopback := ends(ipv6)
				f := open(t, ns, ns, at(loopback))
				f.deliver()
				f.answer()
				expectQueues(t, "untracked", l)
			})
		})
	}
}

// Zones have queues of their own; packets of others pass, counted. The kernel tells
// which zone a template is of, or hides it.
func TestGateZones(t *testing.T) {
	five, none := uint16(5), uint16(0)
	for _, test := range []struct {
		zone   byte
		hidden *uint16
		want   []uint16
	}{
		{0, &none, []uint16{100, 101}},
		{5, &five, []uint16{102, 103}},
		{7, nil, nil},
	} {
		t.Run(fmt.Sprint(test.zone), func(t *testing.T) {
			bothFamilies(t, func(t *testing.T, ipv6 bool) {
				ns := testkit.Namespace(t)
				g := testGate()
				g.Queues, g.Zones, g.TemplateZone = 2, []uint16{5, 6}, test.hidden
				i, l := guarded(t, g)
				_, _, loopback := ends(ipv6)
				f := open(t, ns, ns, at(loopback))
				f.deliver()
				expectWithin(t, "without a template", l.takeQueues(), []uint16{100, 101}, 1)
				rawRule(t, inZone(test.zone)...)
				f.deliver()
				f.answer()
				got := l.takeQueues()
				if test.want != nil {
					expectWithin(t, "with a template", got, test.want, 2)
					return
				}
				if len(got) != 0 {
					t.Errorf("in queues %v, want none", got)
				}
				counted := regexp.MustCompile(`counter packets 2 bytes \d+ accept comment "verdictd: of a zone that`)
				if text := shown(t, i.table); !counted.MatchString(text) {
					t.Errorf("not counted:\n%s", text)
				}
			})
		})
	}
}

// expectWithin checks that so many packets were in some of the queues.
func expectWithin(t *testing.T, what string, got, want []uint16, packets int) {
	t.Helper()
	if len(got) != packets || slices.ContainsFunc(got, func(q uint16) bool { return !slices.Contains(want, q) }) {
		t.Errorf("%s: in queues %v, want %d times one of %v", what, got, packets, want)
	}
}

func shown(t *testing.T, table string) string {
	t.Helper()
	text, err := Show(table)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
