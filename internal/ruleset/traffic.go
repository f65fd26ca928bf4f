package ruleset

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"verdictd/internal/vocabulary"
)

// Traffic is packets of some protocols.
type Traffic struct {
	IPv4, IPv6 bool

	// Protocols are some of vocabulary.GateProtocols.
	Protocols []uint8

	// Ports select by the port at either end; none: all packets. Protocols without
	// ports are then not selected.
	Ports []vocabulary.PortRange
}

// Equal reports whether both are the same packets, said in the same order.
func (t Traffic) Equal(other Traffic) bool {
	return t.IPv4 == other.IPv4 && t.IPv6 == other.IPv6 && slices.Equal(t.Protocols, other.Protocols) && slices.Equal(t.Ports, other.Ports)
}

// String is close to nft's notation.
func (t Traffic) String() string {
	var words []string
	switch {
	case !t.IPv6:
		words = append(words, "IPv4")
	case !t.IPv4:
		words = append(words, "IPv6")
	}
	names := make([]string, len(t.Protocols))
	for i, p := range t.Protocols {
		names[i] = vocabulary.Protocol(p).NFT()
	}
	words = append(words, strings.Join(names, ", "))
	if len(t.Ports) > 0 {
		ports := make([]string, len(t.Ports))
		for i, r := range t.Ports {
			ports[i] = r.String()
		}
		words = append(words, "port "+strings.Join(ports, ", "))
	}
	return strings.Join(words, " ")
}

func (t *Traffic) in(f *ipFamily) bool {
	return f.number == unix.NFPROTO_IPV4 && t.IPv4 || f.number == unix.NFPROTO_IPV6 && t.IPv6
}

// problems are what is wrong with it.
func (t *Traffic) problems() (problems []string) {
	if !t.IPv4 && !t.IPv6 {
		problems = append(problems, " has no address family: use IPv4, IPv6 or both")
	}
	if len(t.Protocols) == 0 {
		problems = append(problems, fmt.Sprintf(" has no protocol: use some of %v", vocabulary.GateProtocols()))
	}
	for _, p := range t.Protocols {
		if !vocabulary.Gateable(p) {
			problems = append(problems, fmt.Sprintf(": IP protocol %d cannot be held: use some of %v", p, vocabulary.GateProtocols()))
		}
	}
	for _, r := range t.Ports {
		if r.First > r.Last {
			problems = append(problems, fmt.Sprintf(": ports %d to %d: the first comes first", r.First, r.Last))
		}
	}
	return problems
}
