package liverules

import (
	"slices"

	"golang.org/x/sys/unix"

	"verdictd/internal/vocabulary"
)

// Selection is a kind of packets: of one of the families, of one of the
// protocols, and with one of the ports. It leaves out no packet that it stands
// for, and may have others.
type Selection struct {
	Families []Family `json:"families"`

	// Protocols are those of the packets; empty: all but Except.
	Protocols []Protocol `json:"protocols,omitempty"`
	Except    []Protocol `json:"except,omitempty"`

	// Ports: the source's or the destination's is one of these; empty: whatever the
	// ports, if there are any.
	Ports []vocabulary.PortRange `json:"ports,omitempty"`

	// ICMPErrors: messages of ICMP that tell of other packets are among them.
	ICMPErrors bool `json:"icmp_errors,omitempty"`
}

// Protocol is an IP protocol by its number.
type Protocol uint8

// String is the protocol's name, or its number.
func (p Protocol) String() string { return vocabulary.Protocol(p).NFT() }

// MarshalText gives the name.
func (p Protocol) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText takes a name or a number.
func (p *Protocol) UnmarshalText(text []byte) error {
	n, err := vocabulary.ParseProtocol(string(text))
	if err != nil {
		return err
	}
	*p = Protocol(n)
	return nil
}

// Takes reports whether packets of a protocol are among them.
func (s Selection) Takes(p Protocol) bool {
	if len(s.Protocols) > 0 {
		return slices.Contains(s.Protocols, p)
	}
	return !slices.Contains(s.Except, p)
}

// only reports whether all packets are of one protocol.
func (s Selection) only(p Protocol) bool { return len(s.Protocols) == 1 && s.Protocols[0] == p }

func (s Selection) families() families {
	var f families
	for _, family := range s.Families {
		f |= family.families()
	}
	return f
}

// same reports whether two selections differ in their families at most.
func (s Selection) same(other Selection) bool {
	return slices.Equal(s.Protocols, other.Protocols) && slices.Equal(s.Except, other.Except) &&
		slices.Equal(s.Ports, other.Ports) && s.ICMPErrors == other.ICMPErrors
}

// portProtocols are those whose header begins with source and destination port.
var portProtocols = byteSetOf(vocabulary.PortProtocols()...)

// fewPorts is up to how many ports say something.
const fewPorts = 1 << 15

// listed is how many protocols are listed; more are told by those that are left
// out.
const listed = 128

// selection makes one of limits; ok is false where no packet keeps them.
func (l limits) selection(f families) (s Selection, ok bool) {
	protocols := l.protocols
	ports := l.smallest()
	switch with := protocols.and(portProtocols); {
	case ports == nil:
	case with.empty():
		ports = nil // the same bytes mean something else, as ICMP's type and code
	default:
		// Of other protocols a rule that reads ports without asking for the protocol
		// would compare checksums or types: such a match is chance.
		protocols = with
	}
	if ports.count() > fewPorts {
		ports = nil // as good as all: the other end's port is among them
	}
	if f&ipv4 == 0 {
		protocols.remove(unix.IPPROTO_ICMP)
	}
	if f&(ipv6|bridged) == 0 {
		protocols.remove(unix.IPPROTO_ICMPV6)
	}
	if f == 0 || protocols.empty() || ports != nil && len(ports) == 0 || l.states == 0 {
		return Selection{}, false
	}
	s = Selection{Families: f.list(), Ports: ports}
	if n := protocols.count(); n <= listed {
		s.Protocols = protocols.list()
	} else {
		s.Except = protocols.complement().list()
		// Where the family has no such protocol, leaving it out says nothing.
		s.Except = slices.DeleteFunc(s.Except, func(p Protocol) bool {
			return p == unix.IPPROTO_ICMP && f&ipv4 == 0 || p == unix.IPPROTO_ICMPV6 && f&(ipv6|bridged) == 0
		})
	}
	related := l.states&stateRelated != 0
	s.ICMPErrors = related && (protocols.has(unix.IPPROTO_ICMP) && !l.icmp[0].and(icmpErrors).empty() ||
		protocols.has(unix.IPPROTO_ICMPV6) && !l.icmp[1].and(icmpv6Errors).empty())
	return s, true
}

// The types of errors that a host sends (nf_conntrack_icmpv4_error, RFC 4443).
var (
	icmpErrors   = byteSetOf(3, 4, 5, 11, 12)
	icmpv6Errors = byteSetOf(1, 2, 3, 4)
)

// addSelection joins one to a list, in which no two differ in their families alone.
func addSelection(list []Selection, s Selection) []Selection {
	for i := range list {
		if list[i].same(s) {
			list[i].Families = (list[i].families() | s.families()).list()
			return list
		}
	}
	return append(list, s)
}

// packets are what comes by any of the ways.
func (a arrivals) packets(of Family) []Selection {
	list := []Selection{}
	for _, way := range a.list {
		l := unlimited
		if within := way.known.limits(); within != nil {
			l = *within
		}
		if s, ok := l.selection(way.known.families(of)); ok {
			list = addSelection(list, s)
		}
	}
	return list
}
