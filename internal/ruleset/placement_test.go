package ruleset

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// A way is one that packets take between or through namespaces, with the hooks
// in which they are queued.
type way struct {
	name     string
	from, to *netlab.NetNS
	address  netip.Addr
	queued   []uint8
}

// ways makes the namespaces for a placement, keeps the calling goroutine in
// the one for the rules, and tells where packets have to be queued: those sent
// to another host, received from one, and sent to oneself; or those passed on.
func ways(t *testing.T, p vocabulary.Placement, ipv6 bool) []way {
	t.Helper()
	const (
		pre     = unix.NF_INET_PRE_ROUTING
		in      = unix.NF_INET_LOCAL_IN
		forward = unix.NF_INET_FORWARD
		out     = unix.NF_INET_LOCAL_OUT
		post    = unix.NF_INET_POST_ROUTING
	)
	if p == vocabulary.PlacementForward {
		client, server, address := routed(t, ipv6)
		return []way{{"passed on", client, server, address, []uint8{forward}}}
	}
	expected, ok := map[vocabulary.Placement][3][]uint8{
		vocabulary.PlacementNone:         {},
		vocabulary.PlacementPreConntrack: {{out}, {pre}, {out}},
		vocabulary.PlacementNotrack:      {{out}, {in}, {out}},
		vocabulary.PlacementOutput:       {{out}, {}, {out}},
		vocabulary.PlacementPostrouting:  {{post}, {}, {post}},
		vocabulary.PlacementInput:        {{}, {in}, {in}},
		vocabulary.PlacementVerdict3:     {{post}, {in}, {post}},
	}[p]
	if !ok {
		t.Fatalf("placement %s: nothing expected", p)
	}
	local, remote := testkit.VethPair(t)
	localAddress, remoteAddress, loopback := ends(ipv6)
	return []way{
		{"sent", local, remote, remoteAddress, expected[0]},
		{"received", remote, local, localAddress, expected[1]},
		{"to itself", local, local, loopback, expected[2]},
	}
}

// dns is the port of the tests' servers: the one that the files in configs/ for
// PlacementNotrack select.
const dns = 53

func TestPlacement(t *testing.T) {
	for _, placement := range vocabulary.Placements() {
		t.Run(string(placement), func(t *testing.T) {
			bothFamilies(t, func(t *testing.T, ipv6 bool) {
				ways := ways(t, placement, ipv6)
				c := udpRules(placement, vocabulary.FanoutBalance, 1)
				l := listen(t, c, nil)
				install(t, c)
				expectQueued(t, placement, l, ways, false)
			})
		})
	}
}

// expectQueued sends a packet along each way. With a gate it enters that first, where
// it is sent or comes in.
func expectQueued(t *testing.T, p vocabulary.Placement, l *listener, ways []way, gate bool) {
	t.Helper()
	for _, w := range ways {
		f := open(t, w.from, w.to, netip.AddrPortFrom(w.address, dns))
		f.deliver()
		var entered, judged []queued
		for _, q := range l.take() {
			if q.queue >= gateQueues {
				entered = append(entered, q)
			} else {
				judged = append(judged, q)
			}
		}
		if got := seenAt(judged); !slices.Equal(got, w.queued) {
			t.Errorf("%s: queued in hooks %v, want %v", w.name, got, w.queued)
		}
		hook := uint8(unix.NF_INET_LOCAL_OUT)
		if w.name == "received" || w.name == "passed on" {
			hook = unix.NF_INET_PRE_ROUTING
		}
		if want := []queued{{gateQueues, hook}}; gate && !slices.Equal(entered, want) {
			t.Errorf("%s: entered the gate %v, want %v", w.name, entered, want)
		}
		if got, want := isTracked(t, f), p != vocabulary.PlacementNotrack; got != want {
			t.Errorf("%s: tracked is %v, want %v", w.name, got, want)
		}
	}
}

// isTracked tells whether the calling thread's namespace has a conntrack entry
// for a flow.
func isTracked(t *testing.T, f *flow) bool {
	t.Helper()
	table, err := os.ReadFile("/proc/thread-self/net/nf_conntrack")
	if err != nil {
		t.Skipf("needs CONFIG_NF_CONNTRACK_PROCFS: %v", err)
	}
	port := func(a fmt.Stringer) uint16 { return netip.MustParseAddrPort(a.String()).Port() }
	ports := fmt.Sprintf(" sport=%d dport=%d ", port(f.client.LocalAddr()), port(f.server.LocalAddr()))
	return strings.Contains(string(table), ports)
}

// routed makes a client and a server with a router between them, and keeps the
// calling goroutine in the router.
func routed(t *testing.T, ipv6 bool) (client, server *netlab.NetNS, address netip.Addr) {
	t.Helper()
	near, far := netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("198.51.100.1/24")
	if ipv6 {
		near, far = netip.MustParsePrefix("2001:db8:1::1/64"), netip.MustParsePrefix("2001:db8:2::1/64")
	}
	router := testkit.Namespace(t)
	client, server = namespace(t), namespace(t)
	for _, pair := range []struct {
		host    *netlab.NetNS
		address netip.Prefix
		link    string
		route   netip.Prefix
	}{{client, near, "near", far}, {server, far, "far", near}} {
		gateway := netip.PrefixFrom(pair.address.Addr().Next(), pair.address.Bits())
		err := netlab.AddVeth(
			netlab.Endpoint{NetNS: pair.host, Link: "up", Addresses: []netip.Prefix{pair.address}},
			netlab.Endpoint{NetNS: router, Link: pair.link, Addresses: []netip.Prefix{gateway}},
		)
		if err != nil {
			t.Fatal(err)
		}
		if err := pair.host.AddRoute(pair.route.Masked(), gateway.Addr()); err != nil {
			t.Fatal(err)
		}
	}
	if err := router.EnableForwarding(); err != nil {
		t.Fatal(err)
	}
	return client, server, far.Addr()
}

// namespace makes a namespace without entering it.
func namespace(t *testing.T) *netlab.NetNS {
	t.Helper()
	ns, err := netlab.NewNetNS()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}
