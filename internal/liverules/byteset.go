package liverules

import "math/bits"

// byteSet is a set of numbers up to 255: protocols, or types of ICMP.
type byteSet [4]uint64

func byteSetOf(numbers ...uint8) (s byteSet) {
	for _, n := range numbers {
		s[n/64] |= 1 << (n % 64)
	}
	return s
}

// byteRange has the numbers from first to last.
func byteRange(first, last uint8) (s byteSet) {
	for n := int(first); n <= int(last); n++ {
		s[n/64] |= 1 << (n % 64)
	}
	return s
}

// everyByte has all of them.
var everyByte = byteRange(0, 255)

func (s byteSet) has(n uint8) bool { return s[n/64]>>(n%64)&1 != 0 }

func (s *byteSet) remove(n uint8) { s[n/64] &^= 1 << (n % 64) }

func (s byteSet) and(other byteSet) byteSet {
	for i := range s {
		s[i] &= other[i]
	}
	return s
}

func (s byteSet) or(other byteSet) byteSet {
	for i := range s {
		s[i] |= other[i]
	}
	return s
}

func (s byteSet) complement() byteSet {
	for i := range s {
		s[i] = ^s[i]
	}
	return s
}

func (s byteSet) empty() bool { return s == byteSet{} }

func (s byteSet) count() (n int) {
	for _, word := range s {
		n += bits.OnesCount64(word)
	}
	return n
}

func (s byteSet) list() (list []Protocol) {
	for n := range 256 {
		if s.has(uint8(n)) {
			list = append(list, Protocol(n))
		}
	}
	return list
}
