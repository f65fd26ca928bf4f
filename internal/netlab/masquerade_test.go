package netlab_test

import (
	"net/netip"
	"testing"

	"verdictd/internal/testkit"
)

// TestMasquerade sends from the address of another interface and from a fixed
// port; the peer sees neither, and its answer finds back.
func TestMasquerade(t *testing.T) {
	for family, tt := range map[string]struct {
		inner         string
		local, remote netip.Prefix
	}{
		"ipv4": {"198.51.100.1/32", testkit.LocalIPv4, testkit.RemoteIPv4},
		"ipv6": {"2001:db8:2::1/128", testkit.LocalIPv6, testkit.RemoteIPv6},
	} {
		t.Run(family, func(t *testing.T) {
			local, remote := testkit.VethPair(t)
			inner := netip.MustParsePrefix(tt.inner)
			if err := local.AddAddress("lo", inner); err != nil {
				t.Fatal(err)
			}
			if err := local.Masquerade(testkit.LocalLink); err != nil {
				t.Fatal(err)
			}
			there := listen(t, remote, netip.AddrPortFrom(tt.remote.Addr(), 7000))
			translated := false
			for port := uint16(5000); port < 5010; port++ { // one port in 64,000 stays the same by chance
				here := listen(t, local, netip.AddrPortFrom(inner.Addr(), port))
				if _, err := here.WriteToUDPAddrPort([]byte("there"), netip.AddrPortFrom(tt.remote.Addr(), 7000)); err != nil {
					t.Fatal(err)
				}
				from := receive(t, there, "there")
				if from.Addr() != tt.local.Addr() {
					t.Errorf("the peer sees %v, want %v", from.Addr(), tt.local.Addr())
				}
				translated = translated || from.Port() != port
				if _, err := there.WriteToUDPAddrPort([]byte("back"), from); err != nil {
					t.Fatal(err)
				}
				if from := receive(t, here, "back"); from.Addr() != tt.remote.Addr() {
					t.Errorf("answered by %v, want %v", from, tt.remote.Addr())
				}
			}
			if !translated {
				t.Error("no source port was changed")
			}
		})
	}
}
