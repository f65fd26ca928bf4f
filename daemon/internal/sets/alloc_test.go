//go:build !race

package sets

import (
	"net/netip"
	"testing"
	"time"
)

func TestAllocations(t *testing.T) {
	names := namesOf(t, "example.org", "*.example.net")
	prefixes, pairs, ports := NewPrefixes(), NewPairs(), NewPorts()
	for builder, entry := range map[Builder]string{prefixes: "192.0.2.0/24", pairs: "[2001:db8::1]:53", ports: "53"} {
		if err := builder.Add([]byte(entry)); err != nil {
			t.Fatal(err)
		}
	}
	p, q, r := prefixes.Build(time.Time{}), pairs.Build(time.Time{}), ports.Build(time.Time{})
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	there, away := []byte("www.example.org"), []byte("a.b.c.d.e.example.com")
	if n := testing.AllocsPerRun(100, func() {
		names.Find(there)
		names.Find(away)
		p.Contains(a)
		p.Contains(b)
		q.Contains(a, 53)
		q.Contains(b, 53)
		r.Contains(53)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
