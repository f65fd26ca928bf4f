package ct

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// Protocol is an IP protocol number.
type Protocol uint8

// String returns the protocol's name, or its number where it has none here.
func (p Protocol) String() string {
	switch p {
	case unix.IPPROTO_ICMP:
		return "icmp"
	case unix.IPPROTO_TCP:
		return "tcp"
	case unix.IPPROTO_UDP:
		return "udp"
	case unix.IPPROTO_GRE:
		return "gre"
	case unix.IPPROTO_ICMPV6:
		return "icmpv6"
	case unix.IPPROTO_SCTP:
		return "sctp"
	case unix.IPPROTO_UDPLITE:
		return "udplite"
	}
	return strconv.Itoa(int(p))
}

// MarshalText makes the name the key in a JSON object.
func (p Protocol) MarshalText() ([]byte, error) {
	return []byte(p.String()), nil
}
