package vocabulary

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Protocol is an upper-layer protocol number. Its text is a name where it has one here.
type Protocol uint8

var protocols = []struct {
	number Protocol
	name   string
}{
	{unix.IPPROTO_UDP, "udp"},
	{unix.IPPROTO_TCP, "tcp"},
	{unix.IPPROTO_ICMP, "icmp"},
	{unix.IPPROTO_ICMPV6, "icmpv6"},
	{unix.IPPROTO_UDPLITE, "udplite"},
	{unix.IPPROTO_DCCP, "dccp"},
	{unix.IPPROTO_GRE, "gre"},
	{unix.IPPROTO_SCTP, "sctp"},
}

// String is the protocol's name, or its number.
func (p Protocol) String() string {
	for _, known := range protocols {
		if p == known.number {
			return known.name
		}
	}
	return strconv.Itoa(int(p))
}

// NFT is what nft calls the protocol.
func (p Protocol) NFT() string {
	if p == unix.IPPROTO_ICMPV6 {
		return "ipv6-icmp"
	}
	return p.String()
}

// ParseProtocol reads a name, nft's included, or a number.
func ParseProtocol(text string) (Protocol, error) {
	for _, known := range protocols {
		if text == known.name || text == known.number.NFT() {
			return known.number, nil
		}
	}
	n, err := strconv.ParseUint(text, 10, 8)
	if err != nil {
		return 0, fmt.Errorf("%q is no protocol: use %s or a number from 0 to 255", text, strings.Join(protocolNames(), ", "))
	}
	return Protocol(n), nil
}

func protocolNames() (names []string) {
	for _, known := range protocols {
		names = append(names, known.name)
	}
	return names
}

// MarshalText gives what String does, so that it can be the key in a JSON object.
func (p Protocol) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what MarshalText gives.
func (p *Protocol) UnmarshalText(text []byte) (err error) {
	*p, err = ParseProtocol(string(text))
	return err
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

// IsQuery reports whether conntrack begins an entry with a message of ICMP or ICMPv6 of a
// type (icmp_pkt_to_tuple's valid_new).
func IsQuery(protocol, message uint8) bool {
	const echo, timestamp, information, mask = 8, 13, 15, 17
	const echo6, nodeInformation = 128, 139
	switch protocol {
	case unix.IPPROTO_ICMP:
		return message == echo || message == timestamp || message == information || message == mask
	case unix.IPPROTO_ICMPV6:
		return message == echo6 || message == nodeInformation
	}
	return false
}

// Queries are the types of such messages.
func Queries(protocol uint8) (messages []uint8) {
	for message := range 256 {
		if IsQuery(protocol, uint8(message)) {
			messages = append(messages, uint8(message))
		}
	}
	return messages
}
