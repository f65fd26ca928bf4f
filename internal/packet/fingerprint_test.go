package packet

import (
	"encoding/binary"
	"testing"
)

func fingerprint(t *testing.T, b []byte) uint32 {
	t.Helper()
	var v View
	if err := v.Decode(b); err != nil {
		t.Fatalf("Decode: %v", err)
	}
	return v.Fingerprint()
}

func edited(b []byte, f func(b []byte)) []byte {
	b = append([]byte(nil), b...)
	f(b)
	return b
}

// TestFingerprintStays: what changes on a packet's way through the machine is not in it.
func TestFingerprintStays(t *testing.T) {
	gre := []byte{0x80, 0, 8, 0, 1, 2, 0, 0, 1, 2, 3, 4}
	for name, test := range map[string]struct {
		packet   []byte
		checksum int // offset in the packet
		length   int
	}{
		"udp4":   {ip4(17, nil, udp("a question")...), 26, 2},
		"udp6":   {ip6(17, udp("a question")...), 46, 2},
		"tcp":    {ip4(6, nil, tcp("get")...), 36, 2},
		"icmp":   {ip4(1, nil, 8, 0, 0, 0, 0, 1, 0, 1, 7), 22, 2},
		"icmpv6": {ip6(58, 128, 0, 0, 0, 0, 1, 0, 1, 7), 42, 2},
		"sctp":   {ip4(132, nil, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 3), 28, 4},
		"gre":    {ip4(47, nil, gre...), 24, 2},
	} {
		t.Run(name, func(t *testing.T) {
			want := fingerprint(t, test.packet)
			for what, b := range map[string][]byte{
				"TTL and TOS": edited(test.packet, func(b []byte) {
					if b[0]>>4 == 4 {
						b[1], b[8], b[10] = 4, 9, 9 // and the header's checksum
					} else {
						b[0], b[7] = 0x61, 9
					}
				}),
				"checksum":           edited(test.packet, func(b []byte) { clear(b[test.checksum : test.checksum+test.length]); b[test.checksum] = 0xaa }),
				"bytes behind it":    append(append([]byte(nil), test.packet...), 1, 2, 3),
				"the same once more": test.packet,
			} {
				if got := fingerprint(t, b); got != want {
					t.Errorf("%s: %#x, want %#x", what, got, want)
				}
			}
		})
	}
	long := ip4(17, nil, udp(string(make([]byte, 1000)))...)
	if a, b := fingerprint(t, long), fingerprint(t, long[:20+fingerprintLen]); a != b {
		t.Errorf("a copy range of %d bytes changes it: %#x and %#x", 20+fingerprintLen, a, b)
	}
	new(View).Fingerprint() // an empty one has one too
}

// TestFingerprintDiffers: packets of one flow that differ in one of these are told apart.
func TestFingerprintDiffers(t *testing.T) {
	seen := map[uint32]string{}
	add := func(name string, b []byte) {
		t.Helper()
		f := fingerprint(t, b)
		if other, taken := seen[f]; taken {
			t.Errorf("%s and %s have the fingerprint %#x", name, other, f)
		}
		seen[f] = name
	}
	add("a", ip4(17, nil, udp("a")...))
	add("b", ip4(17, nil, udp("b")...))
	add("longer", ip4(17, nil, udp("a\x00")...))
	add("udp6", ip6(17, udp("a")...))
	add("ping 1", ip4(1, nil, 8, 0, 0, 0, 0, 1, 0, 1))
	add("ping 2", ip4(1, nil, 8, 0, 0, 0, 0, 1, 0, 2))
	add("gre", ip4(47, nil, 0x10, 0, 8, 0, 0, 0, 0, 1))
	add("gre, next number", ip4(47, nil, 0x10, 0, 8, 0, 0, 0, 0, 2))
	add("gre, no checksum there", ip4(47, nil, 0x10, 0, 8, 0, 9, 9, 0, 2))
	for id := range uint16(1000) {
		add("id", edited(ip4(17, nil, udp("again")...), func(b []byte) { binary.BigEndian.PutUint16(b[4:], id+1) }))
	}
}
