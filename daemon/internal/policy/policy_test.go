package policy

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"verdictd/internal/packet"
	"verdictd/internal/vocabulary"
)

// view is a packet of that protocol; the ports are the first four bytes behind
// the IP header.
func view(t testing.TB, protocol uint8, src, dst netip.Addr, sport, dport uint16) *packet.View {
	t.Helper()
	var b []byte
	if src.Is4() {
		b = append([]byte{0x45, 0, 0, 28, 0, 0, 0, 0, 64, protocol, 0, 0}, src.AsSlice()...)
	} else {
		b = append([]byte{0x60, 0, 0, 0, 0, 8, protocol, 64}, src.AsSlice()...)
	}
	b = append(b, dst.AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, sport)
	b = binary.BigEndian.AppendUint16(b, dport)
	b = append(b, 0, 8, 0, 0)
	v := new(packet.View)
	if err := v.Decode(b); err != nil {
		t.Fatalf("Decode: %v", err)
	}
	return v
}

func prefixList(texts ...string) (list Addresses) {
	for _, text := range texts {
		list.Prefixes = append(list.Prefixes, netip.MustParsePrefix(text))
	}
	return list
}

// portList takes the ends of ranges.
func portList(ends ...uint16) (list Ports) {
	for pair := range slices.Chunk(ends, 2) {
		list.Ranges = append(list.Ranges, vocabulary.Ports(pair[0], pair[1]))
	}
	return list
}

func compiled(t testing.TB, def vocabulary.Action, rules ...Rule) *Policy {
	t.Helper()
	p, err := Compile(Config{Default: def, Rules: rules}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func decide(p *Policy, v *packet.View) (vocabulary.Action, int) {
	var verdict Verdict
	p.NewDecider().Decide(&Input{View: v}, &verdict)
	return verdict.Action, verdict.Rule
}

func TestDecide(t *testing.T) {
	p := compiled(t, vocabulary.Accept,
		Rule{Action: vocabulary.Accept, Match: Match{
			Protocols: []uint8{17}, Destination: prefixList("198.51.100.53/32"), DestinationPorts: portList(53, 53),
		}},
		Rule{Action: vocabulary.Drop, Match: Match{Protocols: []uint8{6, 17}, DestinationPorts: portList(853, 853, 53, 60, 55, 70)}},
		Rule{Action: vocabulary.Drop, Match: Match{
			Source: prefixList("192.0.2.0/25", "192.0.2.200/32", "2001:db8::/64"), SourcePorts: portList(1000, 2000, 1200, 1300),
		}},
		Rule{Action: vocabulary.Drop, Match: Match{Protocols: []uint8{1}}},
	)
	addr := netip.MustParseAddr
	resolver, other, net4, net6 := addr("198.51.100.53"), addr("198.51.100.54"), addr("192.0.2.7"), addr("2001:db8::7")
	for _, test := range []struct {
		name string
		v    *packet.View
		want vocabulary.Action
	}{
		{"first match wins", view(t, 17, net4, resolver, 1500, 53), vocabulary.Accept},
		{"second rule", view(t, 17, net4, other, 9, 53), vocabulary.Drop},
		{"other protocol of the list", view(t, 6, net4, resolver, 9, 53), vocabulary.Drop},
		{"joined ranges", view(t, 17, net4, other, 9, 70), vocabulary.Drop},
		{"beyond the ranges", view(t, 17, net4, other, 9, 71), vocabulary.Accept},
		{"source and port", view(t, 17, net4, other, 1000, 9), vocabulary.Drop},
		{"source without port", view(t, 17, net4, other, 2001, 9), vocabulary.Accept},
		{"host prefix", view(t, 17, addr("192.0.2.200"), other, 2000, 9), vocabulary.Drop},
		{"between prefixes", view(t, 17, addr("192.0.2.201"), other, 2000, 9), vocabulary.Accept},
		{"ipv6 source", view(t, 17, net6, addr("2001:db8:1::1"), 1000, 9), vocabulary.Drop},
		{"no ports", view(t, 50, net4, other, 1000, 9), vocabulary.Accept},
		{"protocol alone", view(t, 1, net4, other, 0, 0), vocabulary.Drop},
	} {
		if got, _ := decide(p, test.v); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

func TestDefault(t *testing.T) {
	v := view(t, 17, netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), 1, 2)
	for _, def := range []vocabulary.Action{vocabulary.Accept, vocabulary.Drop} {
		p := compiled(t, def)
		if got, rule := decide(p, v); got != def || rule != 0 {
			t.Errorf("no rules: %v by rule %d, want %v by rule 0", got, rule, def)
		}
	}
	if got, _ := decide(nil, v); got != vocabulary.Accept {
		t.Errorf("nil policy: %v, want accept", got)
	}
}

// naive is the definition of what Decide does.
func naive(def vocabulary.Action, rules []Rule, v *packet.View) vocabulary.Action {
	in := func(list []netip.Prefix, a netip.Addr) bool {
		return len(list) == 0 || slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	at := func(list []vocabulary.PortRange, port uint16) bool {
		return len(list) == 0 || v.HasPorts() && slices.ContainsFunc(list, func(r vocabulary.PortRange) bool { return r.First <= port && port <= r.Last })
	}
	for _, r := range rules {
		m := &r.Match
		if (len(m.Protocols) == 0 || slices.Contains(m.Protocols, v.Protocol)) && in(m.Source.Prefixes, v.Src()) &&
			in(m.Destination.Prefixes, v.Dst()) && at(m.SourcePorts.Ranges, v.SrcPort) && at(m.DestinationPorts.Ranges, v.DstPort) {
			return r.Action
		}
	}
	return def
}

// randomRules draws from few addresses and ports, so that rules overlap.
func randomRules(random *rand.Rand) []Rule {
	withPorts := vocabulary.PortProtocols()
	rules := make([]Rule, random.IntN(6))
	for i := range rules {
		r := &rules[i]
		r.Action = vocabulary.Action(random.IntN(2))
		ports := func() (list []vocabulary.PortRange) {
			for range random.IntN(4) {
				first := random.IntN(20)
				list = append(list, vocabulary.Ports(uint16(first), uint16(first+random.IntN(5))))
			}
			return list
		}
		nets := func() (list []netip.Prefix) {
			for range random.IntN(4) {
				a := randomAddr(random, random.IntN(2) == 0)
				list = append(list, netip.PrefixFrom(a, random.IntN(a.BitLen()+1)).Masked())
			}
			return list
		}
		for range random.IntN(3) {
			r.Match.Protocols = append(r.Match.Protocols, withPorts[random.IntN(len(withPorts))])
		}
		r.Match.Source.Prefixes, r.Match.Destination.Prefixes = nets(), nets()
		r.Match.SourcePorts.Ranges, r.Match.DestinationPorts.Ranges = ports(), ports()
	}
	return rules
}

func randomAddr(random *rand.Rand, v4 bool) netip.Addr {
	if v4 {
		return netip.AddrFrom4([4]byte{192, 0, 2, byte(random.IntN(8))})
	}
	if random.IntN(4) == 0 { // on the wire so, and no IPv4 address
		return netip.AddrFrom16([16]byte{10: 0xff, 11: 0xff, 12: 192, 13: 0, 14: 2, 15: byte(random.IntN(8))})
	}
	return netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 15: byte(random.IntN(8))})
}

func FuzzDecide(f *testing.F) {
	for seed := range uint64(200) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		random := rand.New(rand.NewPCG(seed, 1))
		def, rules := vocabulary.Action(random.IntN(2)), randomRules(random)
		p := compiled(t, def, rules...)
		for range 20 {
			v4 := random.IntN(2) == 0
			protocol := []uint8{6, 17, 136, 1, 47}[random.IntN(5)]
			v := view(t, protocol, randomAddr(random, v4), randomAddr(random, v4), uint16(random.IntN(24)), uint16(random.IntN(24)))
			got, rule := decide(p, v)
			if by := p.Action(rule); by != got {
				t.Fatalf("%v by rule %d, which says %v", got, rule, by)
			}
			if want := naive(def, rules, v); got != want {
				t.Fatalf("%v -> %v protocol %d ports %d %d: %v, want %v by default %v and\n%+v", v.Src(), v.Dst(), protocol, v.SrcPort, v.DstPort, got, want, def, rules)
			}
		}
	})
}
