package vocabulary

import (
	"fmt"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// Protocol is an upper-layer protocol number; a configuration may use a name.
type Protocol uint8

// protocols are those that matter here: by what a configuration calls them, and nft.
var protocols = []struct {
	number    uint8
	name, nft string
}{
	{unix.IPPROTO_UDP, "udp", "udp"},
	{unix.IPPROTO_TCP, "tcp", "tcp"},
	{unix.IPPROTO_ICMP, "icmp", "icmp"},
	{unix.IPPROTO_ICMPV6, "icmpv6", "ipv6-icmp"},
	{unix.IPPROTO_UDPLITE, "udplite", "udplite"},
	// A configuration has these by number.
	{unix.IPPROTO_DCCP, "", "dccp"},
	{unix.IPPROTO_GRE, "", "gre"},
	{unix.IPPROTO_SCTP, "", "sctp"},
}

// ProtocolName names a protocol as nft does, or gives its number.
func ProtocolName(number uint8) string {
	for _, known := range protocols {
		if number == known.number {
			return known.nft
		}
	}
	return strconv.Itoa(int(number))
}

// ProtocolNamed is ProtocolName's inverse.
func ProtocolNamed(name string) (number uint8, ok bool) {
	for _, known := range protocols {
		if name == known.nft {
			return known.number, true
		}
	}
	n, err := strconv.ParseUint(name, 10, 8)
	return uint8(n), err == nil
}

// String is what a configuration has.
func (p Protocol) String() string {
	for _, known := range protocols {
		if uint8(p) == known.number && known.name != "" {
			return known.name
		}
	}
	return strconv.Itoa(int(p))
}

// MarshalText gives the name, or the number where there is no name.
func (p Protocol) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what MarshalText gives.
func (p *Protocol) UnmarshalText(text []byte) error {
	for _, known := range protocols {
		if known.name != "" && string(text) == known.name {
			*p = Protocol(known.number)
			return nil
		}
	}
	n, err := strconv.ParseUint(string(text), 10, 8)
	if err != nil {
		return fmt.Errorf("%q is no protocol: use udp, tcp, icmp, icmpv6, udplite or a number from 0 to 255", text)
	}
	*p = Protocol(n)
	return nil
}

// Numbers are the protocols as rules and packets have them.
func Numbers(list []Protocol) (numbers []uint8) {
	for _, p := range list {
		numbers = append(numbers, uint8(p))
	}
	return numbers
}

// portProtocols are those whose header begins with source and destination port.
var portProtocols = []uint8{
	unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_DCCP, unix.IPPROTO_SCTP, unix.IPPROTO_UDPLITE,
}

// PortProtocols lists the protocols that have ports.
func PortProtocols() []uint8 { return slices.Clone(portProtocols) }

// HasPorts reports whether a protocol's packets have ports.
func HasPorts(protocol uint8) bool { return slices.Contains(portProtocols, protocol) }

// gateProtocols in ascending order.
var gateProtocols = []uint8{unix.IPPROTO_ICMP, unix.IPPROTO_UDP, unix.IPPROTO_GRE, unix.IPPROTO_ICMPV6, unix.IPPROTO_UDPLITE}

// GateProtocols lists the protocols that a gate can hold: their further packets have
// no part in what makes the first one's entry. Of ICMP and ICMPv6 only queries enter.
func GateProtocols() []uint8 { return slices.Clone(gateProtocols) }

// Gateable reports whether a gate can hold a protocol's packets.
func Gateable(protocol uint8) bool { return slices.Contains(gateProtocols, protocol) }
