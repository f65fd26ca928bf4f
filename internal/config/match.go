package config

import (
	"verdictd/internal/vocabulary"
)

// Match matches a packet that everything which is set matches. A list does if one of its entries does, but for
// Payload, All and Not.
type Match struct {
	Family           []vocabulary.Family   `yaml:"family,omitempty"`
	Protocols        []vocabulary.Protocol `yaml:"protocols,omitempty"`
	Source           []Prefix              `yaml:"source,omitempty"`
	Destination      []Prefix              `yaml:"destination,omitempty"`
	SourcePorts      []Ports               `yaml:"source_ports,omitempty"`
	DestinationPorts []Ports               `yaml:"destination_ports,omitempty"`
	SourcePairs      []Pair                `yaml:"source_pairs,omitempty"`
	DestinationPairs []Pair                `yaml:"destination_pairs,omitempty"`
	InterfaceIn      []Interface           `yaml:"interface_in,omitempty"`
	InterfaceOut     []Interface           `yaml:"interface_out,omitempty"`
	Hooks            []vocabulary.Hook     `yaml:"hooks,omitempty"`
	Mark             []Mark                `yaml:"mark,omitempty"`
	ConnMark         []Mark                `yaml:"connmark,omitempty"`
	// Length is of the IP packet, in bytes.
	Length []Range `yaml:"length,omitempty"`
	// TTL is IPv4's, and IPv6's hop limit.
	TTL      []Range               `yaml:"ttl,omitempty"`
	DSCP     []DSCP                `yaml:"dscp,omitempty"`
	Fragment []vocabulary.Fragment `yaml:"fragment,omitempty"`
	// UID and GID are of the sending socket. Packets without one match neither.
	UID       []Range                `yaml:"uid,omitempty"`
	GID       []Range                `yaml:"gid,omitempty"`
	Conntrack []vocabulary.Conntrack `yaml:"conntrack,omitempty"`
	Time      *Time                  `yaml:"time,omitempty"`
	// DNS, TLS, QUIC and HTTP match flows of these protocols.
	DNS  *DNS         `yaml:"dns,omitempty"`
	TLS  *Hello       `yaml:"tls,omitempty"`
	QUIC *Hello       `yaml:"quic,omitempty"`
	HTTP *HTTPRequest `yaml:"http,omitempty"`
	// Names are of whichever of the four protocols.
	Names []Name `yaml:"names,omitempty"`
	// NameState is what is known of the name.
	NameState []vocabulary.NameState `yaml:"name_state,omitempty"`
	// Payload is what all of has to be in the upper layer's payload.
	Payload []Payload `yaml:"payload,omitempty"`
	// Regexp is RE2, for the first Policy.RegexpBytes of the payload.
	Regexp string `yaml:"regexp,omitempty"`
	// Not has to match not, of Any one has to match, and of All every one.
	Not *Match  `yaml:"not,omitempty"`
	Any []Match `yaml:"any,omitempty"`
	All []Match `yaml:"all,omitempty"`
}

// Time matches by the clock.
type Time struct {
	// Days are those on which the time begins.
	Days []vocabulary.Day `yaml:"days,omitempty"`
	// From and To are the day's; where To is before From it is of the next day. Neither: the whole day.
	From *Clock `yaml:"from,omitempty"`
	To   *Clock `yaml:"to,omitempty"`
	// Zone is a name of the IANA's, as in "Europe/Berlin"; "" is the machine's.
	Zone string `yaml:"zone,omitempty"`
}

// DNS matches questions, and their answers. Lists that are empty match all.
type DNS struct {
	Names []Name    `yaml:"names,omitempty"`
	Types []DNSType `yaml:"types,omitempty"`
}

// Hello matches a ClientHello, and the flow that begins with it.
type Hello struct {
	Names []Name `yaml:"names,omitempty"`
	// ALPN are protocols of which the client offers one.
	ALPN []string `yaml:"alpn,omitempty"`
}

// HTTPRequest matches requests, and the flow that begins with one.
type HTTPRequest struct {
	Names []Name `yaml:"names,omitempty"`
}

// Payload is bytes at a place.
type Payload struct {
	// Offset is from the beginning of the upper layer's payload.
	Offset int `yaml:"offset"`
	Bytes  Hex `yaml:"bytes"`
	// Mask has the bits that count; empty: all.
	Mask Hex `yaml:"mask,omitempty"`
}
