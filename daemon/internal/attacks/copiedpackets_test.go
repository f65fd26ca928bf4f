package attacks

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Sources of packets: those of plain the kernel reads as the daemon does. Of odd ones the daemon refuses some, by their
// length, their place in a fragmented packet, or what their headers say.
var (
	plain = map[bool]netip.Addr{false: netip.MustParseAddr("203.0.113.1"), true: netip.MustParseAddr("2001:db8:a::1")}
	odd   = map[bool]netip.Addr{false: netip.MustParseAddr("203.0.113.2"), true: netip.MustParseAddr("2001:db8:a::2")}
	to    = map[bool]netip.Addr{false: netip.MustParseAddr("198.51.100.9"), true: netip.MustParseAddr("2001:db8:b::9")}
)

// maker makes packets without the daemon's own reading of them.
type maker struct {
	*rand.Rand
	number uint16
}

func oneOf[T any](m *maker, list ...T) T { return list[m.IntN(len(list))] }

// sum adds up 16-bit words for a checksum.
func sum(b []byte, start uint32) uint32 {
	for len(b) > 1 {
		start += uint32(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		start += uint32(b[0]) << 8
	}
	return start
}

func folded(s uint32) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}

// upper is an upper layer's header with so many bytes behind it.
func (m *maker) upper(v6 bool, protocol uint8, src netip.Addr, n int) []byte {
	header := map[uint8]int{unix.IPPROTO_UDP: 8, 136: 8, unix.IPPROTO_TCP: 20, 132: 12, 33: 12, 1: 8, 58: 8, 47: 4, 50: 8}[protocol]
	if protocol == unix.IPPROTO_TCP {
		header += 4 * m.IntN(11)
	}
	if protocol == 33 {
		header += 4 * m.IntN(40)
	}
	b := make([]byte, header+n)
	for i := range b {
		b[i] = oneOf[byte](m, 'a', 'b', 0, '\n')
	}
	if len(b) >= 4 {
		// Each packet is a flow: where rules have conntrack look at them, as those of reject do, others clash.
		binary.BigEndian.PutUint16(b, oneOf[uint16](m, 1000, 20_000)+m.number%1000)
		binary.BigEndian.PutUint16(b[2:], oneOf[uint16](m, 53, 80, 443, 3000))
	}
	at := -1
	switch protocol {
	case unix.IPPROTO_UDP, 136:
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
		at = 6
	case unix.IPPROTO_TCP:
		b[12], b[13] = byte(header/4)<<4, oneOf[byte](m, 2, 16, 24, 17)
		at = 16
	case 33:
		b[4] = byte(header / 4)
	case 1:
		b[0], b[1] = 8, 0
		binary.BigEndian.PutUint16(b[4:], m.number)
		at = 2
	case 58:
		b[0], b[1] = 128, 0
		binary.BigEndian.PutUint16(b[4:], m.number)
		at = 2
	case 47:
		copy(b, []byte{0, 0, 8, 0})
	}
	if at >= 0 {
		b[at], b[at+1] = 0, 0
		start := uint32(0)
		if protocol != 1 {
			start = sum(src.AsSlice(), sum(to[v6].AsSlice(), uint32(protocol)+uint32(len(b))))
		}
		binary.BigEndian.PutUint16(b[at:], folded(sum(b, start)))
	}
	return b
}

// ipv4 has options of so many bytes.
func (m *maker) ipv4(src netip.Addr, protocol uint8, options int, fragment uint16, upper []byte) []byte {
	header := 20 + options
	b := append(make([]byte, header), upper...)
	b[0], b[1] = 0x40|byte(header/4), oneOf[byte](m, 0, 0xb8, 0x20)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	m.number++
	binary.BigEndian.PutUint16(b[4:], m.number)
	binary.BigEndian.PutUint16(b[6:], fragment)
	b[8], b[9] = oneOf[byte](m, 5, 64), protocol
	copy(b[12:], src.AsSlice())
	copy(b[16:], to[false].AsSlice())
	for i := 20; i < header-1; i++ {
		b[i] = 1 // nothing
	}
	binary.BigEndian.PutUint16(b[10:], folded(sum(b[:header], 0)))
	return b
}

// extension is a header of IPv6: its number and its bytes, of which the first is the next one's number.
type extension struct {
	number uint8
	bytes  []byte
}

func (m *maker) ipv6(src netip.Addr, protocol uint8, chain []extension, upper []byte) []byte {
	m.number++
	b := make([]byte, 40)
	binary.BigEndian.PutUint32(b, 6<<28|uint32(oneOf[byte](m, 0, 0xb8, 0x20))<<20|uint32(m.number))
	b[7] = oneOf[byte](m, 5, 64)
	copy(b[8:], src.AsSlice())
	copy(b[24:], to[true].AsSlice())
	next := 6
	for _, e := range chain {
		b[next] = e.number
		next = len(b)
		b = append(b, e.bytes...)
	}
	b[next] = protocol
	b = append(b, upper...)
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
	return b
}

// chain has so many bytes at most, and none that the kernel looks at when it forwards. Authentication is an extension
// to conntrack and the daemon, and an upper layer to nftables (IP6_FH_F_AUTH).
func (m *maker) chain(most int, kinds ...uint8) (list []extension) {
	for most >= 8 {
		kind := oneOf(m, kinds...)
		words := 1 + m.IntN(min(most/8, 30))
		e := extension{kind, make([]byte, 8*words)}
		e.bytes[1] = byte(words - 1)
		switch kind {
		case 51:
			e.bytes[1] = byte(2*words - 2)
		case 43:
			e.bytes[2] = 253 // none that there is
		case 60:
			e.bytes[2] = 0x1e
			e.bytes[3] = byte(min(8*words-4, 255))
		}
		most -= 8 * words
		list = append(list, e)
	}
	return list
}

// plainOnes are packets that the kernel and the daemon read alike: whole ones whose headers end early enough, and
// fragments.
func (m *maker) plainOnes(n int) (list [][]byte) {
	edges := []int{505, 510, 511, 512, 513, 514, 600, 1500, 4000}
	for i := range n {
		v6 := i%2 == 1
		protocol := oneOf[uint8](m, 17, 17, 17, 6, 6, 132, 33, 136, 50, 47, oneOf[uint8](m, 1))
		if v6 && protocol == 1 {
			protocol = 58
		}
		payload := oneOf(m, m.IntN(8), m.IntN(100), m.IntN(1200))
		if protocol == 50 || protocol == 47 {
			payload += 8
		}
		var chain []extension
		options := 0
		if m.IntN(3) == 0 {
			chain, options = m.chain(m.IntN(120), 43, 60), 4*m.IntN(11)
		}
		build := func(payload int) []byte {
			fixed := *m // the same headers again
			source := rand.NewPCG(uint64(i), 7)
			fixed.Rand = rand.New(source)
			u := fixed.upper(v6, protocol, plain[v6], payload)
			if v6 {
				return fixed.ipv6(plain[v6], protocol, chain, u)
			}
			return fixed.ipv4(plain[v6], protocol, options, 0, u)
		}
		b := build(payload)
		if m.IntN(2) == 0 { // of a length around the bound
			payload = max(payload, oneOf(m, edges...)-(len(b)-payload))
			b = build(payload)
		}
		m.number++
		list = append(list, b)
	}
	return list
}

// oddOnes are of lengths, chains and fragments that somebody made up.
func (m *maker) oddOnes(n int) (list [][]byte) {
	for i := range n {
		v6 := i%2 == 1
		protocol := oneOf[uint8](m, 17, 6, 132, 33, 50, 47, 58, 59)
		payload := oneOf(m, 0, m.IntN(20), m.IntN(600))
		u := m.upper(v6, protocol, odd[v6], payload)
		if protocol == 6 && m.IntN(3) == 0 {
			u[12] = byte(m.IntN(256))
		}
		if m.IntN(4) == 0 {
			u = u[:m.IntN(len(u)+1)] // as of a first fragment that is short
		}
		if protocol == 17 && len(u) > 5 && m.IntN(3) == 0 {
			binary.BigEndian.PutUint16(u[4:], uint16(m.IntN(1000)))
		}
		if v6 {
			chain := m.chain(oneOf(m, m.IntN(40), 512-40-m.IntN(80), m.IntN(1200)), 43, 60, 51)
			if m.IntN(3) == 0 {
				f := extension{44, make([]byte, 8)}
				binary.BigEndian.PutUint16(f.bytes[2:], oneOf[uint16](m, 1, 8, 9, 256*8, 0))
				binary.BigEndian.PutUint32(f.bytes[4:], uint32(m.number)) // none is put together
				at := m.IntN(len(chain) + 1)
				chain = append(chain[:at:at], append([]extension{f}, chain[at:]...)...)
			}
			list = append(list, m.ipv6(odd[v6], protocol, chain, u))
			continue
		}
		b := m.ipv4(odd[v6], protocol, 4*m.IntN(11), oneOf[uint16](m, 0, 0x2000, 0x2001, 1, 2, 185), u)
		if m.IntN(4) == 0 {
			b = append(b, make([]byte, m.IntN(700))...) // behind the packet's end
		}
		list = append(list, b)
	}
	return list
}
