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

func BenchmarkFingerprint(b *testing.B) {
	var v View
	if err := v.Decode(samples()["udp4"]); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		v.Fingerprint()
	}
}

// BenchmarkDecodeLongest is the most work that one packet can make.
func BenchmarkDecodeLongest(b *testing.B) {
	var v View
	data := headers(maxHeaders)
	b.ReportAllocs()
	for b.Loop() {
		if err := v.Decode(data); err != nil {
			b.Fatal(err)
		}
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
