//go:build !race

package flows

import (
	"testing"

	"verdictd/internal/packet"
)

func all(table *Table, packets []*packet.View, now int64) {
	for _, v := range packets {
		table.Expire(now)
		table.Begin(v, true, now)
		for _, ok := table.Next(); ok; _, ok = table.Next() {
		}
		table.Accept()
	}
}

func TestAllocations(t *testing.T) {
	hello, request := clientHello(t, "www.example.org"), []byte("GET / HTTP/1.1\r\nHost: example.org\r\n\r\n")
	questions := append(question("one.example"), question("two.example")...)
	packets := []*packet.View{
		web.tcp(t, "S", 99, 0, nil), web.tcp(t, "A", 700, 0, hello[600:]), web.tcp(t, "A", 100, 0, hello[:600]),
		web.tcp(t, "S", 4999, 0, nil), web.tcp(t, "A", 5000, 0, request),
		resolver.tcp(t, "S", 99, 0, nil), resolver.tcp(t, "A", 100, 0, questions[:40]), resolver.tcp(t, "A", 140, 0, questions[40:]),
		resolver.udp(t, question("www.example.org")[2:]), web.udp(t, []byte("no QUIC")),
	}
	table, now := newTable(t, nil), int64(0)
	if n := testing.AllocsPerRun(100, func() { now++; all(table, packets, now) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	_, datagrams := recorded(t, "version 1")
	packets = []*packet.View{web.udp(t, datagrams[0]), web.udp(t, datagrams[1]), web.udp(t, datagrams[2])}
	now += 1e9
	all(table, packets, now)
	if n := testing.AllocsPerRun(100, func() { now++; all(table, packets, now) }); n != 0 {
		t.Errorf("%v allocations for a known QUIC connection", n)
	}
}

func BenchmarkPackets(b *testing.B) {
	hello := clientHello(b, "www.example.org")
	for name, packets := range map[string][]*packet.View{
		"tls-in-2":      {web.tcp(b, "S", 99, 0, nil), web.tcp(b, "A", 100, 0, hello[:1000]), web.tcp(b, "A", 1100, 0, hello[1000:]), web.tcp(b, "S", 9, 0, nil)},
		"known-flow":    {web.tcp(b, "A", 100, 0, nil)},
		"dns":           {resolver.udp(b, question("www.example.org")[2:])},
		"udp-of-others": {web.udp(b, make([]byte, 1000))},
	} {
		b.Run(name, func(b *testing.B) {
			table := newTable(b, nil)
			all(table, []*packet.View{web.tcp(b, "S", 99, 0, hello)}, 0)
			b.ReportAllocs()
			for b.Loop() {
				all(table, packets, 0)
			}
		})
	}
}
