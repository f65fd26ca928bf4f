package sets

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"
)

const million = 1_000_000

// texts are random lists of n entries, about as long as those that people use.
func texts(n int) map[string][]byte {
	random := rand.New(rand.NewPCG(1, 1))
	v4 := func() netip.Addr {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], random.Uint32())
		return netip.AddrFrom4(b)
	}
	v6 := func() netip.Addr {
		b := [16]byte{0x20, 0x01, 0x0d, 0xb8}
		binary.BigEndian.PutUint64(b[4:], random.Uint64())
		return netip.AddrFrom16(b)
	}
	all := map[string][]byte{}
	for name, entry := range map[string]func() any{
		"names":        func() any { return fmt.Sprintf("%x.%x.example", random.Uint32(), random.Uint32N(1<<16)) },
		"addresses-v4": func() any { return v4() },
		"prefixes-v4":  func() any { return netip.PrefixFrom(v4(), 16+random.IntN(17)).Masked() },
		"prefixes-v6":  func() any { return netip.PrefixFrom(v6(), 32+random.IntN(33)).Masked() },
		"pairs-v4":     func() any { return netip.AddrPortFrom(v4(), uint16(random.Uint32())) },
		"pairs-v6":     func() any { return netip.AddrPortFrom(v6(), uint16(random.Uint32())) },
	} {
		var text bytes.Buffer
		for range n {
			fmt.Fprintln(&text, entry())
		}
		all[name] = text.Bytes()
	}
	return all
}

func builderOf(name string) Builder {
	switch name[:3] {
	case "nam":
		return NewNames()
	case "pai":
		return NewPairs()
	}
	return NewPrefixes()
}

func build(b Builder) any {
	switch b := b.(type) {
	case *NamesBuilder:
		return b.Build(time.Time{})
	case *PairsBuilder:
		return b.Build(time.Time{})
	case *PrefixesBuilder:
		return b.Build(time.Time{})
	}
	return nil
}

// BenchmarkLoad loads a million random entries each time.
func BenchmarkLoad(b *testing.B) {
	for name, text := range texts(million) {
		b.Run(name, func(b *testing.B) {
			var before, after runtime.MemStats
			var set any
			entries := 0
			runtime.GC()
			runtime.ReadMemStats(&before)
			for b.Loop() {
				builder := builderOf(name)
				if err := Read(builder, name, bytes.NewReader(text), Limits{}); err != nil {
					b.Fatal(err)
				}
				entries = builder.Len()
				set = build(builder)
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(entries), "B/entry")
			runtime.KeepAlive(set)
		})
	}
}

// BenchmarkFind looks names up in a set of a million.
func BenchmarkFind(b *testing.B) {
	builder := NewNames()
	text := texts(million)["names"]
	if err := Read(builder, "names", bytes.NewReader(text), Limits{}); err != nil {
		b.Fatal(err)
	}
	s := builder.Build(time.Time{})
	lines := bytes.Fields(text)[:1<<16]
	for i, l := range lines[:len(lines)/2] { // half of them are not there
		lines[i] = append([]byte("www.x"), l...)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		s.Find(lines[i&(len(lines)-1)])
		i += 12345
	}
}
