package packet

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"verdictd/internal/testkit"
)

func FuzzDecode(f *testing.F) {
	for _, b := range [][]byte{
		ip4(17, []byte{1, 1, 1, 1}, udp("dns")...), ip4(6, nil, tcp("get")...), ip4(1, nil, 8, 0, 0, 0, 1, 2, 0, 1),
		ip4(47, nil, 0x20, 1, 0x88, 0x0b, 0, 0, 1, 2), ip4(33, nil, 0, 1, 0, 2, 4), ip4(132, nil, 0, 1, 0, 2),
		ip6(17, udp("dns")...), ip6(0, append([]byte{44, 0, 1, 4, 0, 0, 0, 0, 51, 0, 0, 1, 0, 0, 0, 7, 17, 4, 23: 0}, udp("")...)...),
		ip6(44, 60, 0, 0x05, 0xc9, 0, 0, 0, 7),
		headers(maxHeaders), headers(maxHeaders + 1), behind(maxHeaders, tcp("get")), headers(40)[:40+40*8], ip6(17), ip4(6, nil),
		append(ip4(6, nil, tcp("get")...), make([]byte, 2*MaxHeaders)...), append(ip6(17, udp("dns")...), make([]byte, 2*MaxHeaders)...),
	} {
		f.Add(b)
	}
	for _, b := range testkit.Recorded(f, "testdata/packets.txt") {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := slices.Clone(b)
		// Reading past the slice's end is out of range even where the array goes on.
		b = slices.Clip(b)
		var v View
		err := v.Decode(b)
		sameOfCopies(t, b)
		var key Key
		v.Key(&key)
		v.Fingerprint()
		src, dst, upper, payload := v.Src(), v.Dst(), v.L4(), v.Payload()
		if !bytes.Equal(b, before) {
			t.Fatal("the packet was changed")
		}
		if err != nil {
			if v.Version != 0 || key != (Key{}) || len(upper) > 0 {
				t.Errorf("refused (%v), and yet there is a packet: %+v", err, v)
			}
			return
		}
		if src.Is4() != (v.Version == 4) || dst.Is6() != (v.Version == 6) {
			t.Errorf("version %d, addresses %v and %v", v.Version, src, dst)
		}
		if v.HeaderLen < 20 || v.HeaderLen+len(upper) > len(b) || v.TotalLen < v.HeaderLen || len(payload) > len(upper) {
			t.Errorf("lengths: %d bytes, header %d, total %d, upper %d, payload %d", len(b), v.HeaderLen, v.TotalLen, len(upper), len(payload))
		}
		if v.Truncated() != (v.TotalLen > len(b)) {
			t.Errorf("Truncated = %v: total %d of %d bytes", v.Truncated(), v.TotalLen, len(b))
		}
		if v.FragmentOffset != 0 && (v.HasPorts() || !v.Fragment) {
			t.Errorf("a further fragment with ports: %+v", v)
		}
		// A View keeps nothing of the packet before.
		used := View{SrcPort: 9, ports: true, payload: 9, Fragment: true}
		if err := used.Decode(b); err != nil || used.HasPorts() != v.HasPorts() || used.SrcPort != v.SrcPort || used.payload != v.payload || used.Fragment != v.Fragment {
			t.Errorf("a used View reads %+v (%v), a new one %+v", used, err, v)
		}
	})
}

// sameOfCopies: however much of a packet is copied, from MaxHeaders bytes on, its headers are read alike, and its
// payload as far as it was copied.
func sameOfCopies(t *testing.T, b []byte) {
	t.Helper()
	var whole, cut View
	err := whole.Decode(b)
	for n := MaxHeaders; n < len(b); n += 1 + n/7 {
		if other := cut.DecodeCopy(b[:n:n], len(b)); (err == nil) != (other == nil) {
			t.Fatalf("%d of %d bytes: %v, of all: %v", n, len(b), other, err)
		}
		if err != nil {
			continue
		}
		var a, b Key
		whole.Key(&a)
		cut.Key(&b)
		if a != b || whole.Fingerprint() != cut.Fingerprint() {
			t.Fatalf("%d bytes: key %x and fingerprint %x, of all: %x and %x", n, b, cut.Fingerprint(), a, whole.Fingerprint())
		}
		if !bytes.HasPrefix(whole.Payload(), cut.Payload()) || (whole.Payload() == nil) != (cut.Payload() == nil) ||
			len(cut.Payload()) < min(len(whole.Payload()), n-MaxHeaders) {
			t.Fatalf("%d bytes: a payload of %d, of all: %d", n, len(cut.Payload()), len(whole.Payload()))
		}
		all, some := whole, cut
		all.b, some.b = nil, nil
		if fmt.Sprint(all) != fmt.Sprint(some) {
			t.Fatalf("%d bytes: %+v\nof all: %+v", n, some, all)
		}
	}
}
