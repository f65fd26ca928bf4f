package dns

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// zone is where the names are: nobody's (RFC 2606).
const zone = ".stress.example."

// naming tells the names of one run from those of any other.
type naming struct{ run uint32 }

// name is that of a resolution. Its dot at the end keeps resolvers from their search lists.
func (n naming) name(i int) string { return fmt.Sprintf("r%d.%08x%s", i, n.run, zone) }

// index is the resolution that a name is of.
func (n naming) index(name string) (int, bool) {
	label, ok := strings.CutSuffix(strings.ToLower(name), fmt.Sprintf(".%08x%s", n.run, zone))
	if !ok {
		return 0, false
	}
	digits, ok := strings.CutPrefix(label, "r")
	if !ok {
		return 0, false
	}
	i, err := strconv.Atoi(digits)
	return i, err == nil && i >= 0 && digits == strconv.Itoa(i)
}

// addresses are a resolution's, so that no answer can be taken for that to another question.
func addresses(i int) (a, aaaa netip.Addr) {
	// The documentation networks have room for 254 and more than enough.
	a = netip.AddrFrom4([4]byte{203, 0, 113, byte(1 + i%254)})
	bytes := [16]byte{0x20, 0x01, 0x0d, 0xb8, 0, 0xd}
	binary.BigEndian.PutUint32(bytes[12:], uint32(i))
	return a, netip.AddrFrom16(bytes)
}
