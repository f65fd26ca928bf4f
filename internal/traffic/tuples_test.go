package traffic

import (
	"net/netip"
	"slices"
	"testing"
)

var twoSources = []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}

func takeAll(tu *tuples) (all []netip.AddrPort) {
	for {
		ap, ok := tu.take()
		if !ok {
			return all
		}
		all = append(all, ap)
	}
}

func TestTuplesNeverRepeat(t *testing.T) {
	for _, order := range []PortOrder{PortsShuffled, PortsSequential} {
		for _, target := range []uint16{53, 1024, 9999, 65535} {
			all := takeAll(newTuples(twoSources, target, order, 1))
			if want := len(twoSources) * portsPerSource(target); len(all) != want {
				t.Errorf("%s, target port %d: %d tuples, want %d", order, target, len(all), want)
			}
			seen := map[netip.AddrPort]bool{}
			for _, ap := range all {
				if seen[ap] || ap.Port() < firstPort || ap.Port() == target {
					t.Fatalf("%s, target port %d: %s again, or not allowed", order, target, ap)
				}
				seen[ap] = true
			}
		}
	}
}

func TestTuplesOrder(t *testing.T) {
	first := func(order PortOrder, seed uint64) []netip.AddrPort {
		return takeAll(newTuples(twoSources, 1025, order, seed))[:100]
	}
	sequential := first(PortsSequential, 1)
	for i, want := range []string{"192.0.2.1:1024", "192.0.2.2:1024", "192.0.2.1:1026", "192.0.2.2:1026"} {
		if got := sequential[i].String(); got != want {
			t.Errorf("sequential %d: %s, want %s", i, got, want)
		}
	}
	if !slices.Equal(first(PortsShuffled, 1), first(PortsShuffled, 1)) {
		t.Error("one seed gives two orders")
	}
	if slices.Equal(first(PortsShuffled, 1), first(PortsShuffled, 2)) {
		t.Error("two seeds give one order")
	}
}
