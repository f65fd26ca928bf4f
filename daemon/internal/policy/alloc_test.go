//go:build !race

package policy

import (
	"net/netip"
	"testing"
)

// The race detector's own allocations would be counted.
func TestDecideDoesNotAllocate(t *testing.T) {
	d, verdict := manyPrefixes(t, 1000).NewDecider(), Verdict{}
	for _, pair := range [][2]string{{"192.0.2.1", "198.51.100.2"}, {"2001:db8::1", "2001:db8::2"}} {
		in := Input{View: view(t, 17, netip.MustParseAddr(pair[0]), netip.MustParseAddr(pair[1]), 1024, 53)}
		if n := testing.AllocsPerRun(100, func() { d.Decide(&in, &verdict) }); n != 0 {
			t.Errorf("%s: %v allocations, want 0", pair, n)
		}
	}
}
