package packet

import "testing"

func samples() map[string][]byte {
	return map[string][]byte{
		"udp4": ip4(17, nil, udp("dns")...),
		"tcp6": ip6(6, tcp("get")...),
		"udp6 behind 3 headers": ip6(0, append([]byte{
			60, 0, 1, 4, 0, 0, 0, 0, 44, 0, 1, 4, 0, 0, 0, 0, 17, 0, 0, 1, 0, 0, 0, 7,
		}, udp("dns")...)...),
	}
}

func BenchmarkDecode(b *testing.B) {
	for name, data := range samples() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var v View
			for b.Loop() {
				if err := v.Decode(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkKey(b *testing.B) {
	for name, data := range samples() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var v View
			if err := v.Decode(data); err != nil {
				b.Fatal(err)
			}
			var k Key
			for b.Loop() {
				v.Key(&k)
			}
		})
	}
}
