//go:build !race

package quic

import (
	"runtime"
	"testing"
)

// TestAllocations: keys cost the standard library's ciphers, and nothing else is allocated.
func TestAllocations(t *testing.T) {
	datagrams := recorded(t)[0].bytes(t)
	d := NewDecoder(1e9)
	all := func(c *Conn) {
		for i, b := range datagrams {
			d.Datagram(b, int64(i))
			for _, ok := d.Next(c); ok; _, ok = d.Next(c) {
			}
		}
	}
	var c Conn
	all(&c)
	if n := testing.AllocsPerRun(100, func() { all(&c) }); n != 0 {
		t.Errorf("%v allocations for packets of a known connection", n)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n := testing.AllocsPerRun(1000, func() { c = Conn{}; all(&c) })
	runtime.ReadMemStats(&after)
	t.Logf("%v allocations of %d bytes in all for a new connection", n, (after.TotalAlloc-before.TotalAlloc)/1001)
	if n > 3 {
		t.Errorf("%v allocations for a new connection, more than 3", n)
	}
}

func BenchmarkNewConnection(b *testing.B)   { benchmark(b, true) }
func BenchmarkKnownConnection(b *testing.B) { benchmark(b, false) }

// benchmark is for one datagram of 1,280 bytes.
func benchmark(b *testing.B, fresh bool) {
	datagram := recorded(b)[0].bytes(b)[0]
	d, c := NewDecoder(1e9), Conn{}
	b.ReportAllocs()
	now := int64(0)
	for b.Loop() {
		if now++; fresh {
			c = Conn{}
		}
		d.Datagram(datagram, now)
		for _, ok := d.Next(&c); ok; _, ok = d.Next(&c) {
		}
	}
}

// BenchmarkForeign is for a datagram of 1,280 bytes that none of two sets of keys opens.
func BenchmarkForeign(b *testing.B) {
	datagram := recorded(b)[0].bytes(b)[0]
	d, c := NewDecoder(1e9), Conn{}
	d.Datagram(datagram, 0)
	d.Next(&c)
	foreign := append([]byte(nil), datagram...)
	foreign[6] ^= 1
	now := int64(0)
	for b.Loop() {
		now++
		d.Datagram(foreign, now)
		d.Next(&c)
	}
}
