package vocabulary

import (
	"fmt"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// Protocol is an upper-layer protocol number; a configuration may use a name.
type Protocol uint8

var protocolNames = []struct {
	name   string
	number Protocol
}{
	{"udp", unix.IPPROTO_UDP},
	{"tcp", unix.IPPROTO_TCP},
	{"icmp", unix.IPPROTO_ICMP},
	{"icmpv6", unix.IPPROTO_ICMPV6},
	{"udplite", unix.IPPROTO_UDPLITE},
}

func (p Protocol) String() string {
	for _, known := range protocolNames {
		if p == known.number {
			return known.name
		}
	}
	return strconv.Itoa(int(p))
}

// MarshalText gives the name, or the number where there is no name.
func (p Protocol) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what MarshalText gives.
func (p *Protocol) UnmarshalText(text []byte) error {
	for _, known := range protocolNames {
		if string(text) == known.name {
			*p = known.number
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
