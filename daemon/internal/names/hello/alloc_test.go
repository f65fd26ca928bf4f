//go:build !race

package hello

import "testing"

func TestAllocations(t *testing.T) {
	d, buffer := NewDecoder(size), dst()
	for name, stream := range hellos(t) {
		for _, in := range [][]byte{stream, split(stream, 100), stream[:len(stream)-1]} {
			if n := testing.AllocsPerRun(100, func() {
				h, _ := d.Stream(in, buffer)
				h.Offers("h3")
			}); n != 0 {
				t.Errorf("%s: %v allocations", name, n)
			}
		}
	}
}

func BenchmarkStream(b *testing.B) {
	all := hellos(b)
	for name, in := range map[string][]byte{"one-record": all["post-quantum"], "records-of-100": split(all["post-quantum"], 100)} {
		b.Run(name, func(b *testing.B) {
			d, buffer := NewDecoder(size), dst()
			b.ReportAllocs()
			for b.Loop() {
				d.Stream(in, buffer)
			}
		})
	}
}
