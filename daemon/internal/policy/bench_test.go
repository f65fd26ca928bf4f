package policy

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"verdictd/daemon/internal/names"
	"verdictd/daemon/internal/names/flows"
	"verdictd/daemon/internal/sets"
	"verdictd/internal/vocabulary"
)

func inputOf(t testing.TB, src, dst string, dport uint16) *Input {
	return &Input{View: view(t, 17, netip.MustParseAddr(src), netip.MustParseAddr(dst), 40000, dport), Now: 1}
}

// gateway has n rules as people write them, each with other prefixes, ports and names, of
// which the sample matches none.
func gateway(n int) (rules []Rule) {
	random := rand.New(rand.NewPCG(1, 1))
	prefix := func() netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(random.Uint32()), byte(random.Uint32()), byte(random.Uint32())}), 16+random.IntN(17)).Masked()
	}
	for i := range n {
		r := Rule{Name: fmt.Sprint("rule ", i), Action: vocabulary.Drop}
		m := &r.Match
		switch i % 5 {
		case 0:
			m.Protocols, m.DestinationPorts = []uint8{17}, portList(53, 53, 853, 853)
			m.Source.Prefixes = []netip.Prefix{prefix(), prefix()}
		case 1:
			first := uint16(1024 + random.IntN(30000))
			m.Protocols, m.DestinationPorts = []uint8{6, 17}, portList(first, first+100)
		case 2:
			m.Destination.Prefixes = []netip.Prefix{prefix()}
		case 3:
			m.TLS = &HelloMatch{Names: Names{List: []string{fmt.Sprintf("host%d.example.net", i)}}}
		case 4:
			m.Source.Prefixes, m.SourcePorts = []netip.Prefix{prefix()}, portList(uint16(i), uint16(i))
		}
		rules = append(rules, r)
	}
	return rules
}

func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{0, 1, 100, 1000, 10_000} {
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			in := inputOf(b, "192.0.2.1", "198.51.100.2", 53)
			in.Name = flows.Result{State: names.Known, Protocol: flows.DNS, Name: []byte("www.example.org")}
			decideAll(b, compiled(b, vocabulary.Accept, gateway(n)...), in)
		})
	}
}

// BenchmarkExplain is what a rule after the other costs.
func BenchmarkExplain(b *testing.B) {
	in := inputOf(b, "192.0.2.1", "198.51.100.2", 53)
	d := compiled(b, vocabulary.Accept, gateway(1000)...).NewDecider()
	for b.Loop() {
		d.Explain(in)
	}
}

func BenchmarkCompile(b *testing.B) {
	rules := gateway(1000)
	b.ReportAllocs()
	for b.Loop() {
		compiled(b, vocabulary.Accept, rules...)
	}
}

const million = 1_000_000

// millions has a rule for each of a million prefixes, names and pairs in sets.
func millions(t testing.TB, n int) []Rule {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 1))
	prefixes, nameList, pairs := sets.NewPrefixes(), sets.NewNames(), sets.NewPairs()
	var list [3][]byte
	for range n {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], 10<<24|random.Uint32()>>8)
		list[0] = netip.PrefixFrom(netip.AddrFrom4(a), 32).AppendTo(list[0][:0])
		list[1] = fmt.Appendf(list[1][:0], "h%x.example.net", random.Uint64())
		list[2] = netip.AddrPortFrom(netip.AddrFrom4(a), uint16(random.Uint32())).AppendTo(list[2][:0])
		for i, b := range []sets.Builder{prefixes, nameList, pairs} {
			if err := b.Add(list[i]); err != nil {
				t.Fatal(err)
			}
		}
	}
	p, ns, ps := new(Set[sets.Prefixes]), new(Set[sets.Names]), new(Set[sets.Pairs])
	p.Store(prefixes.Build(time.Time{}))
	ns.Store(nameList.Build(time.Time{}))
	ps.Store(pairs.Build(time.Time{}))
	rule := func(m Match) Rule { return Rule{Action: vocabulary.Drop, Match: m} }
	return []Rule{
		rule(Match{Source: Addresses{Sets: []*Set[sets.Prefixes]{p}}}), rule(Match{Destination: Addresses{Sets: []*Set[sets.Prefixes]{p}}}),
		rule(Match{Names: Names{Sets: []*Set[sets.Names]{ns}}}), rule(Match{DestinationPairs: Pairs{Sets: []*Set[sets.Pairs]{ps}}}),
	}
}

func BenchmarkSets(b *testing.B) {
	rules := millions(b, million)
	for _, n := range []int{0, 1000} {
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			in := inputOf(b, "10.192.0.2", "10.51.100.2", 53)
			in.Name = flows.Result{State: names.Known, Protocol: flows.DNS, Name: []byte("www.example.org")}
			decideAll(b, compiled(b, vocabulary.Accept, append(rules, gateway(n)...)...), in)
		})
	}
}

func decideAll(b *testing.B, p *Policy, in *Input) {
	d, v := p.NewDecider(), Verdict{}
	b.ReportAllocs()
	for b.Loop() {
		d.Decide(in, &v)
	}
}
