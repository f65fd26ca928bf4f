//go:build !race

package ct_test

import (
	"testing"

	"verdictd/internal/ct"
	"verdictd/internal/kernel/kerneltest"
	"verdictd/internal/packet"
)

// TestLookupAllocatesNothing is off under the race detector, which allocates itself.
func TestLookupAllocatesNothing(t *testing.T) {
	kerneltest.Namespace(t)
	l, err := ct.NewLookup()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	k := packet.Key{0: 4, 1: 17, 4: 127, 7: 1, 20: 127, 23: 1, 39: 9}
	allocs := testing.AllocsPerRun(100, func() {
		if _, err := l.Confirmed(&k); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations for a lookup", allocs)
	}
}

func BenchmarkLookup(b *testing.B) {
	kerneltest.Namespace(b)
	l, err := ct.NewLookup()
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	k := packet.Key{0: 4, 1: 17, 4: 127, 7: 1, 20: 127, 23: 1, 39: 9}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.Confirmed(&k); err != nil {
			b.Fatal(err)
		}
	}
}
