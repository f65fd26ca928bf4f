package ruleset

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"verdictd/internal/kernel"
	"verdictd/internal/kernel/kerneltest"
)

// Where the packets of each placement are queued: sent to another host,
// received from one, and sent to oneself.
func TestPlacement(t *testing.T) {
	const (
		pre  = unix.NF_INET_PRE_ROUTING
		in   = unix.NF_INET_LOCAL_IN
		out  = unix.NF_INET_LOCAL_OUT
		post = unix.NF_INET_POST_ROUTING
	)
	for _, test := range []struct {
		placement            Placement
		sent, received, self []uint8
		tracked              bool
	}{
		{PlacementNone, nil, nil, nil, true},
		{PlacementPreConntrack, []uint8{out}, []uint8{pre}, []uint8{out}, true},
		{PlacementNotrack, []uint8{out}, []uint8{in}, []uint8{out}, false},
		{PlacementOutput, []uint8{out}, nil, []uint8{out}, true},
		{PlacementPostrouting, []uint8{post}, nil, []uint8{post}, true},
		{PlacementInput, nil, []uint8{in}, []uint8{in}, true},
		{PlacementForward, nil, nil, nil, true},
		{PlacementVerdict3, []uint8{post}, []uint8{in}, []uint8{post}, true},
	} {
		t.Run(string(test.placement), func(t *testing.T) {
			bothFamilies(t, func(t *testing.T, ipv6 bool) {
				local, remote := kerneltest.VethPair(t)
				localAddress, remoteAddress, loopback := ends(ipv6)
				c := udpRules(test.placement, FanoutBalance, 1)
				l := listen(t, c, nil)
				install(t, c)
				for _, way := range []struct {
					name     string
					from, to *kernel.NetNS
					address  netip.Addr
					want     []uint8
				}{
					{"sent", local, remote, remoteAddress, test.sent},
					{"received", remote, local, localAddress, test.received},
					{"to itself", local, local, loopback, test.self},
				} {
					f := open(t, way.from, way.to, at(way.address), 0)
					f.deliver()
					if got := hooks(l.take()); !slices.Equal(got, way.want) {
						t.Errorf("%s: queued in hooks %v, want %v", way.name, got, way.want)
					}
					if got := isTracked(t, f); got != test.tracked {
						t.Errorf("%s: tracked is %v, want %v", way.name, got, test.tracked)
					}
				}
			})
		})
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

// PlacementForward queues what a router passes on.
func TestPlacementForward(t *testing.T) {
	bothFamilies(t, func(t *testing.T, ipv6 bool) {
		near, far := netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("198.51.100.1/24")
		if ipv6 {
			near, far = netip.MustParsePrefix("2001:db8:1::1/64"), netip.MustParsePrefix("2001:db8:2::1/64")
		}
		router := kerneltest.Namespace(t)
		client, server := namespace(t), namespace(t)
		for _, pair := range []struct {
			host    *kernel.NetNS
			address netip.Prefix
			link    string
			route   netip.Prefix
		}{{client, near, "near", far}, {server, far, "far", near}} {
			gateway := netip.PrefixFrom(pair.address.Addr().Next(), pair.address.Bits())
			err := kernel.AddVeth(
				kernel.Endpoint{NetNS: pair.host, Link: "up", Addresses: []netip.Prefix{pair.address}},
				kernel.Endpoint{NetNS: router, Link: pair.link, Addresses: []netip.Prefix{gateway}},
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

		c := udpRules(PlacementForward, FanoutBalance, 1)
		l := listen(t, c, nil)
		install(t, c)
		open(t, client, server, at(far.Addr()), 0).deliver()
		if got, want := hooks(l.take()), []uint8{unix.NF_INET_FORWARD}; !slices.Equal(got, want) {
			t.Errorf("queued in hooks %v, want %v", got, want)
		}
	})
}

// namespace makes a namespace without entering it.
func namespace(t *testing.T) *kernel.NetNS {
	t.Helper()
	ns, err := kernel.NewNetNS()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}
