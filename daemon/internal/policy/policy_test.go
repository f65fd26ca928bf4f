package policy

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"verdictd/internal/packet"
	"verdictd/internal/vocabulary"
)

// wire is a packet of that protocol; the ports are the first four bytes behind the IP
// header, and the payload is behind a header of UDP's size, or of TCP's.
func wire(protocol uint8, src, dst netip.Addr, sport, dport uint16, payload []byte) []byte {
	upper := binary.BigEndian.AppendUint16(nil, sport)
	upper = binary.BigEndian.AppendUint16(upper, dport)
	upper = append(upper, 0, 8, 0, 0)
	if protocol == 6 {
		upper = append(upper, 0, 0, 0, 0, 5<<4, 0, 0, 0, 0, 0, 0, 0)
	}
	upper = append(upper, payload...)
	var b []byte
	if src.Is4() {
		b = append([]byte{0x45, 0, 0, byte(20 + len(upper)), 0, 0, 0, 0, 64, protocol, 0, 0}, src.AsSlice()...)
	} else {
		b = append([]byte{0x60, 0, 0, 0, 0, byte(len(upper)), protocol, 64}, src.AsSlice()...)
	}
	return append(append(b, dst.AsSlice()...), upper...)
}

func view(t testing.TB, protocol uint8, src, dst netip.Addr, sport, dport uint16) *packet.View {
	t.Helper()
	v := new(packet.View)
	if err := v.Decode(wire(protocol, src, dst, sport, dport, nil)); err != nil {
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
