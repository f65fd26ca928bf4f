package index

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"verdictd/internal/vocabulary"
)

const rules = 100

// holds tells whether a row has the bits of those rules that want a value or do not care.
func holds(t *testing.T, what string, row Row, wants func(rule int) (cares, wants bool)) {
	t.Helper()
	for rule := range rules {
		cares, wanted := wants(rule)
		if got := row.Has(rule); got != (!cares || wanted) {
			t.Fatalf("%s: rule %d has %v; it cares: %v, and wants it: %v", what, rule, got, cares, wanted)
		}
	}
}

func TestSmall(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	d, want := NewSmall(rules), map[int][]uint8{}
	for range rules {
		rule, value := random.IntN(rules), uint8(random.Uint32())
		want[rule] = append(want[rule], value)
		d.Want(rule, value)
	}
	d.Build()
	for value := range 256 {
		holds(t, "value", d.Row(uint8(value)), func(rule int) (bool, bool) { return want[rule] != nil, slices.Contains(want[rule], uint8(value)) })
	}
}

func TestPorts(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	d, want := NewPorts(rules), map[int][]vocabulary.PortRange{}
	d.Want(7, []vocabulary.PortRange{vocabulary.Ports(0, 65535)})
	want[7] = []vocabulary.PortRange{vocabulary.Ports(0, 65535)}
	for rule := 10; rule < 90; rule++ {
		for range random.IntN(5) {
			first := uint16(random.Uint32())
			last := first + uint16(random.IntN(min(2000, 65536-int(first))))
			want[rule] = append(want[rule], vocabulary.Ports(first, last))
		}
		if want[rule] != nil {
			d.Want(rule, want[rule])
		}
	}
	d.Build()
	for port := range 65536 {
		if port%7 > 0 && port != 65535 {
			continue
		}
		holds(t, "port", d.Row(uint16(port)), func(rule int) (bool, bool) {
			return want[rule] != nil, slices.ContainsFunc(want[rule], func(r vocabulary.PortRange) bool { return int(r.First) <= port && port <= int(r.Last) })
		})
	}
	holds(t, "no port", d.None(), func(rule int) (bool, bool) { return want[rule] != nil, false })
}

func TestPrefixes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	addr := func() netip.Addr {
		if random.IntN(3) == 0 {
			return netip.AddrFrom16([16]byte{0: 0x20, 1: 1, 14: byte(random.IntN(4)), 15: byte(random.Uint32())})
		}
		return netip.AddrFrom4([4]byte{192, 0, byte(random.IntN(4)), byte(random.Uint32())})
	}
	d, want := NewPrefixes(rules), map[int][]netip.Prefix{}
	for range 2 * rules {
		rule, a := random.IntN(rules), addr()
		p := netip.PrefixFrom(a, a.BitLen()-random.IntN(12))
		if random.IntN(20) == 0 {
			p = netip.PrefixFrom(a, 0)
		}
		want[rule] = append(want[rule], p.Masked())
		d.Want(rule, p)
	}
	d.Build()
	for range 2000 {
		a := addr()
		holds(t, a.String(), d.Row(a), func(rule int) (bool, bool) {
			return want[rule] != nil, slices.ContainsFunc(want[rule], func(p netip.Prefix) bool { return p.Contains(a) })
		})
	}
}

func TestNames(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	name := func() string {
		var labels []string
		for range 1 + random.IntN(4) {
			labels = append(labels, string(rune('a'+random.IntN(3))))
		}
		return strings.Join(labels, ".")
	}
	type entry struct {
		name        string
		self, below bool
	}
	d, want := NewNames(rules), map[int][]entry{}
	for range rules {
		rule, e := random.IntN(rules), entry{name(), random.IntN(2) == 0, random.IntN(2) == 0}
		want[rule] = append(want[rule], e)
		d.Want(rule, e.name, e.self, e.below)
	}
	d.Build()
	for range 2000 {
		n := name()
		if random.IntN(3) == 0 {
			n = "x.y." + n
		}
		holds(t, n, d.Row([]byte(n)), func(rule int) (bool, bool) {
			return want[rule] != nil, slices.ContainsFunc(want[rule], func(e entry) bool {
				return e.self && n == e.name || e.below && strings.HasSuffix(n, "."+e.name)
			})
		})
	}
	holds(t, "no name", d.None(), func(rule int) (bool, bool) { return want[rule] != nil, false })
	empty := NewNames(rules)
	empty.Build()
	holds(t, "nobody cares", empty.Row([]byte("a.b")), func(int) (bool, bool) { return false, false })
}

// TestCommon holds what rows have in common against asking each for each of its bits.
func TestCommon(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		n := 1 + random.IntN(MostRules)
		order := random.Perm(n)
		list := make([]Row, 1+random.IntN(4))
		for i := range list {
			list[i] = All(n)
			// Most rows have gaps of several words.
			for range random.IntN(20) {
				at := random.IntN(n)
				for rule := at; rule < min(n, at+random.IntN(1000)); rule++ {
					list[i].clear(rule)
				}
			}
		}
		var want []int
		for place, rule := range order {
			if !slices.ContainsFunc(list, func(r Row) bool { return !r.Has(place) }) {
				want = append(want, rule)
			}
		}
		slices.Sort(want)
		common := NewRow(n)
		common.Set(n - 1)
		common.Clear()
		common.Common(list, order)
		var got []int
		for rule, ok := common.Take(); ok; rule, ok = common.Take() {
			got = append(got, rule)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%d rules, %d rows: %v, want %v", n, len(list), got, want)
		}
	}
}
