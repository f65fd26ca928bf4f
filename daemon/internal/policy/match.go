package policy

import (
	"net/netip"
	"sync/atomic"
	"time"

	"verdictd/daemon/internal/names"
	"verdictd/daemon/internal/sets"
	"verdictd/internal/vocabulary"
)

// Match is what a packet is held against: everything that is set must match, and a list
// does if one of its entries does. The zero Match matches everything.
type Match struct {
	Families                      []vocabulary.Family
	Protocols                     []uint8 // of the upper layer
	Source, Destination           Addresses
	SourcePorts, DestinationPorts Ports
	SourcePairs, DestinationPairs Pairs
	InterfacesIn, InterfacesOut   []string // names; * at the end stands for any rest
	Hooks                         []uint8  // by the kernel's numbers
	Marks, ConnMarks              []Masked
	Lengths                       []Range // of the whole packet in bytes
	TTLs                          []Range // hop limit in IPv6
	DSCPs                         []uint8
	Fragments                     Fragments
	UIDs, GIDs                    []Range
	Conntrack                     CTState // one of these
	Times                         []TimeOfDay
	DNS                           *DNSMatch
	TLS, QUIC, HTTP               *HelloMatch
	Names                         Names // found by whichever protocol
	NameStates                    []names.State
	Payload                       []PayloadBytes // all of them
	Regexp                        string         // RE2 over bytes: \xff is that byte
	Not                           *Match         // which must not match
	Any                           []Match        // one of which must match
	All                           []Match        // all of which must match
}

// Set is a named set. What it holds may be replaced while packets pass; until there is
// something, it is empty.
type Set[T any] struct {
	Name string
	atomic.Pointer[T]
}

// Addresses are prefixes and sets of them.
type Addresses struct {
	Prefixes []netip.Prefix
	Sets     []*Set[sets.Prefixes]
}

// Ports are ranges of ports and sets of them.
type Ports struct {
	Ranges []vocabulary.PortRange
	Sets   []*Set[sets.Ports]
}

// Pairs are addresses, each with a port, and sets of them.
type Pairs struct {
	List []netip.AddrPort
	Sets []*Set[sets.Pairs]
}

// Names are entries as in sets' texts, and sets of them.
type Names struct {
	List []string
	Sets []*Set[sets.Names]
}

// Range has the numbers from First to Last, both included.
type Range struct{ First, Last uint32 }

// Fragments are bits for the kinds of packets.
type Fragments uint8

// The kinds of packets.
const (
	FragmentWhole Fragments = 1 << iota
	FragmentFirst
	FragmentLater
)

// TimeOfDay is a part of days: from From to To, without the latter, after midnight. Where
// To is not later than From it ends on the day after, and where both are equal it is a
// whole day.
type TimeOfDay struct {
	Days     [7]bool // by time.Weekday, on which it begins; none: all of them
	From, To time.Duration
	Zone     *time.Location // nil: UTC
}

// DNSMatch matches questions, and answers by the question that they repeat.
type DNSMatch struct {
	Names Names
	Types []uint16 // as assigned by IANA
}

// HelloMatch matches what a client begins with.
type HelloMatch struct {
	Names Names
	ALPN  []string // one of which is among those offered
}

// PayloadBytes are bytes of the upper layer's payload, which must be there.
type PayloadBytes struct {
	Offset      int
	Bytes, Mask []byte // Mask as long as Bytes, or nil: all bits
}
