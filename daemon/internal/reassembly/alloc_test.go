//go:build !race

package reassembly

import "testing"

// hostile sends single bytes that leave gaps, overlap and are out of the bounds.
func hostile(p *Pool, owner int32, now int64) {
	i, _ := p.Open(owner, now)
	for n := range int64(maxPackets) {
		p.Add(i, n*n*37%20_000-100, []byte("0123456789"))
	}
	p.Consume(i, 100, now)
}

func TestAllocations(t *testing.T) {
	p := newPool(t, Config{Flows: 64, Bytes: 16 << 10, Packets: maxPackets, Age: 1000})
	now := int64(0)
	if n := testing.AllocsPerRun(1000, func() {
		now++
		hostile(p, int32(now), now)
		p.Expire(now)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if p.Counters.Evicted == 0 {
		t.Error("nothing was evicted")
	}
}

// BenchmarkHostile is for 64 packets.
func BenchmarkHostile(b *testing.B) {
	p := newPool(b, Config{Flows: 64, Bytes: 16 << 10, Packets: maxPackets, Age: 1000})
	b.ReportAllocs()
	for b.Loop() {
		hostile(p, 0, 0)
	}
}
