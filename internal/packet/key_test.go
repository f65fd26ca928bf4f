package packet

import (
	"slices"
	"testing"
)

func key(t *testing.T, b []byte) Key {
	t.Helper()
	var v View
	if err := v.Decode(b); err != nil {
		t.Fatalf("Decode: %v", err)
	}
	var k Key
	for i := range k { // whatever was there before must be gone
		k[i] = 0xff
	}
	v.Key(&k)
	return k
}

func TestKeyLayout(t *testing.T) {
	want := Key{4, 17, 4: 192, 0, 2, 1, 20: 198, 51, 100, 2, 36: 0x30, 0x39, 0, 53}
	if got := key(t, ip4(17, nil, udp("dns")...)); got != want {
		t.Errorf("Key = %x, want %x", got, want)
	}
	want = Key{6, 17, 36: 0x30, 0x39, 0, 53}
	copy(want[4:], src6.AsSlice())
	copy(want[20:], dst6.AsSlice())
	if got := key(t, ip6(17, udp("dns")...)); got != want {
		t.Errorf("Key = %x, want %x", got, want)
	}
}

// TestKeyIdentity: packets of one group are one flow to conntrack, and those of
// two groups are two.
func TestKeyIdentity(t *testing.T) {
	icmp := func(kind, code, id byte) []byte { return []byte{kind, code, 0, 0, 0, id, 0, 1} }
	swapped := func(b []byte) []byte {
		b = slices.Clone(b)
		copy(b[12:], dst4.AsSlice())
		copy(b[16:], src4.AsSlice())
		return b
	}
	last, empty := ip4(17, nil, udp("dns")...), ip4(17, nil)
	last[7], empty[7] = 1, 2 // further fragments have no ports
	groups := [][][]byte{
		{ip4(17, nil, udp("one")...), ip4(17, []byte{1, 1, 1, 1}, udp("another")...), ip4(17, nil, udp("")[:4]...)},
		{ip6(17, udp("one")...), ip6(60, append([]byte{17, 0, 1, 4, 0, 0, 0, 0}, udp("two")...)...)},
		{swapped(ip4(17, nil, udp("one")...))},
		{ip4(136, nil, udp("one")...)},
		{last, empty},
		{ip4(6, nil, tcp("")...), ip4(6, nil, tcp("x")...)},
		{ip4(1, nil, icmp(8, 0, 1)...), ip4(1, nil, append(icmp(8, 0, 1), "more"...)...)},
		{ip4(1, nil, icmp(8, 0, 2)...)},
		{ip4(1, nil, icmp(0, 0, 1)...)},
		{ip4(1, nil, icmp(8, 1, 1)...)},
		{ip4(47, nil, 0x20, 0x01, 0x88, 0x0b, 0, 4, 0, 1), ip4(47, nil, 0x20, 0x01, 0x88, 0x0b, 0, 9, 0, 1)},
		{ip4(47, nil, 0x20, 0x01, 0x88, 0x0b, 0, 4, 0, 2)},
		{ip4(47, nil, 0x20, 0x00, 0x08, 0x00, 0, 0, 0, 1), ip4(47, nil, 0x20, 0x00, 0x08, 0x00, 0, 0, 0, 2)},
		{ip4(50, nil, 1, 2, 3, 4, 5, 6, 7, 8), ip4(50, nil, 8, 7, 6, 5, 4, 3, 2, 1)},
	}
	owner := map[Key]int{}
	for g, group := range groups {
		first := key(t, group[0])
		if other, taken := owner[first]; taken {
			t.Errorf("groups %d and %d share the key %x", other, g, first)
		}
		owner[first] = g
		for i, b := range group[1:] {
			if got := key(t, b); got != first {
				t.Errorf("group %d, packet %d: key %x, want %x", g, i+1, got, first)
			}
		}
	}
}
