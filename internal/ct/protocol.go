package ct

import (
	"fmt"
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
	case unix.IPPROTO_DCCP:
		return "dccp"
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

// ParseProtocol reads a name as String gives it, or a number.
func ParseProtocol(s string) (Protocol, error) {
	for p := range 256 {
		if Protocol(p).String() == s || strconv.Itoa(p) == s {
			return Protocol(p), nil
		}
	}
	return 0, fmt.Errorf("protocol %q: want a number from 0 to 255, or icmp, tcp, udp, dccp, gre, icmpv6, sctp or udplite", s)
}

// MarshalText makes the name the key in a JSON object.
func (p Protocol) MarshalText() ([]byte, error) {
	return []byte(p.String()), nil
}
