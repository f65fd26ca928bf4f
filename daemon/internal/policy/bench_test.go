package policy

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"verdictd/internal/vocabulary"
)

// manyPrefixes has one rule with n sources, none of which matches the sample.
func manyPrefixes(t testing.TB, n int) *Policy {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 1))
	var list []netip.Prefix
	for range n {
		list = append(list, netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, byte(random.Uint32()), byte(random.Uint32())}), 16+random.IntN(17)).Masked())
	}
	return compiled(t, vocabulary.Accept, Rule{Action: vocabulary.Drop, Match: Match{
		Protocols: []uint8{17}, Source: Addresses{Prefixes: list}, DestinationPorts: portList(53, 53, 853, 853),
	}})
}

func BenchmarkDecide(b *testing.B) {
	in := Input{View: view(b, 17, netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.2"), 1024, 53)}
	for _, n := range []int{0, 1, 10, 10_000} {
		d, verdict := manyPrefixes(b, n).NewDecider(), Verdict{}
		b.Run(fmt.Sprintf("prefixes=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				d.Decide(&in, &verdict)
			}
		})
	}
}
