package testkit

import (
	"net/netip"
	"testing"

	"verdictd/internal/netlab"
)

// Addresses of the two ends of [VethPair].
var (
	LocalIPv4  = netip.MustParsePrefix("192.0.2.1/24")
	LocalIPv6  = netip.MustParsePrefix("2001:db8::1/64")
	RemoteIPv4 = netip.MustParsePrefix("192.0.2.2/24")
	RemoteIPv6 = netip.MustParsePrefix("2001:db8::2/64")
)

// The interfaces of [VethPair].
const (
	LocalLink  = "local0"
	RemoteLink = "remote0"
)

// Namespace makes a network namespace with loopback up and connection tracking
// active, and keeps the calling goroutine in it until the test ends.
func Namespace(t testing.TB) *netlab.NetNS {
	t.Helper()
	ns := newNamespace(t)
	leave, err := ns.Enter()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := leave(); err != nil {
			t.Error(err)
		}
	})
	return ns
}

// VethPair makes two namespaces like [Namespace]'s, joined by a veth pair. The
// calling goroutine is kept in local until the test ends.
func VethPair(t testing.TB) (local, remote *netlab.NetNS) {
	t.Helper()
	local, remote = Namespace(t), newNamespace(t)
	err := netlab.AddVeth(
		netlab.Endpoint{NetNS: local, Link: LocalLink, Addresses: []netip.Prefix{LocalIPv4, LocalIPv6}},
		netlab.Endpoint{NetNS: remote, Link: RemoteLink, Addresses: []netip.Prefix{RemoteIPv4, RemoteIPv6}},
	)
	if err != nil {
		t.Fatal(err)
	}
	return local, remote
}

// newNamespace makes a namespace that nobody has entered yet.
func newNamespace(t testing.TB) *netlab.NetNS {
	t.Helper()
	Require(t)
	ns, err := netlab.NewNetNS()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ns.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := ns.ActivateConntrack(); err != nil {
		t.Fatal(err)
	}
	return ns
}
