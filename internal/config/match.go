package config

import (
	"verdictd/internal/vocabulary"
)

// Match matches a packet that everything which is written matches. A list does if one of its entries
// does, but for Payload and All. An empty Match is every packet.
type Match struct {
	// Family is the version of IP.
	Family []vocabulary.Family `yaml:"family,omitempty"`
	// Protocols are of the upper layer, behind IPv6's extension headers.
	Protocols []vocabulary.Protocol `yaml:"protocols,omitempty"`
	// Source is where the packet comes from, as it is at the hook: NAT may have changed it.
	Source []Prefix `yaml:"source,omitempty"`
	// Destination is where the packet goes.
	Destination []Prefix `yaml:"destination,omitempty"`
	// SourcePorts match no packet without ports, and so no fragment but the first.
	SourcePorts []Ports `yaml:"source_ports,omitempty"`
	// DestinationPorts match no packet without ports, and so no fragment but the first.
	DestinationPorts []Ports `yaml:"destination_ports,omitempty"`
	// SourcePairs are an address and a port together.
	SourcePairs []Pair `yaml:"source_pairs,omitempty"`
	// DestinationPairs are an address and a port together.
	DestinationPairs []Pair `yaml:"destination_pairs,omitempty"`
	// InterfaceIn is where the packet has come in. A * at the end stands for any rest. Devices are
	// followed as they come and go. Packets at the hook output have none.
	InterfaceIn []Interface `yaml:"interface_in,omitempty"`
	// InterfaceOut is where the packet goes out. Packets at the hooks prerouting and input have none.
	InterfaceOut []Interface `yaml:"interface_out,omitempty"`
	// Hooks are where in the kernel the packet was queued.
	Hooks []vocabulary.Hook `yaml:"hooks,omitempty"`
	// Mark is the packet's: a value, and behind the slash the bits that count.
	Mark []Mark `yaml:"mark,omitempty"`
	// ConnMark is the mark of the packet's flow in conntrack.
	ConnMark []Mark `yaml:"connmark,omitempty"`
	// Length is of the whole packet with its IP header, in bytes.
	Length []Range `yaml:"length,omitempty"`
	// TTL is IPv4's, and IPv6's hop limit.
	TTL []Range `yaml:"ttl,omitempty"`
	// DSCP is the class of traffic that the packet says it is of.
	DSCP []DSCP `yaml:"dscp,omitempty"`
	// Fragment tells whole packets from fragments. Where conntrack is active, it puts them together before.
	Fragment []vocabulary.Fragment `yaml:"fragment,omitempty"`
	// UID is the user of the sending socket. Packets of other machines have none, and match neither UID
	// nor GID.
	UID []Range `yaml:"uid,omitempty"`
	// GID is the group of the sending socket.
	GID []Range `yaml:"gid,omitempty"`
	// Conntrack is what conntrack says. Invalid and untracked packets look the same to the daemon: each
	// word matches both.
	Conntrack []vocabulary.Conntrack `yaml:"conntrack,omitempty"`
	// Time is when the rule is in force.
	Time *Time `yaml:"time,omitempty"`
	// DNS matches questions of DNS and their answers, over UDP and TCP, at policy.names.dns_ports. {} is
	// any.
	DNS *DNS `yaml:"dns,omitempty"`
	// TLS matches flows over TCP that begin with a ClientHello, at any port. {} is any.
	TLS *Hello `yaml:"tls,omitempty"`
	// QUIC matches flows over UDP that begin with QUIC's Initial packets (versions 1 and 2), at any port.
	// {} is any.
	QUIC *Hello `yaml:"quic,omitempty"`
	// HTTP matches flows over TCP that begin with a request of HTTP/1, by its Host, at any port. {} is any.
	HTTP *HTTPRequest `yaml:"http,omitempty"`
	// Names are of whichever of DNS, TLS, QUIC and HTTP.
	Names []Name `yaml:"names,omitempty"`
	// NameState is what is known of the name. Hidden: the true one is encrypted (ECH). Too-long: it did
	// not come within the bounds of policy.names. None: there is no name.
	NameState []vocabulary.NameState `yaml:"name_state,omitempty"`
	// Payload is bytes at places, all of which have to be there.
	Payload []Payload `yaml:"payload,omitempty"`
	// Regexp is a regular expression of RE2. It looks at the first policy.regexp_bytes of each packet's
	// payload by itself, byte by byte: \xff is that byte.
	Regexp string `yaml:"regexp,omitempty"`
	// Not has to match not.
	Not *Match `yaml:"not,omitempty"`
	// Any has matches of which one has to match.
	Any []Match `yaml:"any,omitempty"`
	// All has matches all of which have to match.
	All []Match `yaml:"all,omitempty"`
}

// Time matches by the clock.
type Time struct {
	// Days are those on which the time begins.
	Days []vocabulary.Day `yaml:"days,omitempty"`
	// From is when the time begins.
	From *Clock `yaml:"from,omitempty"`
	// To is when it ends; before From it is of the next day.
	To *Clock `yaml:"to,omitempty"`
	// Zone is a name of the IANA's, such as Europe/Berlin or UTC; without one it is the machine's.
	Zone string `yaml:"zone,omitempty"`
}

// DNS matches questions, and their answers. Lists that are not written match all.
type DNS struct {
	// Names are what is asked for.
	Names []Name `yaml:"names,omitempty"`
	// Types are of the question: names, or numbers.
	Types []DNSType `yaml:"types,omitempty"`
}

// Hello matches a ClientHello, and the flow that begins with it.
type Hello struct {
	// Names are the server's, as the client names it (SNI).
	Names []Name `yaml:"names,omitempty"`
	// ALPN are protocols of which the client offers one.
	ALPN []string `yaml:"alpn,omitempty"`
}

// HTTPRequest matches requests, and the flow that begins with one.
type HTTPRequest struct {
	// Names are the request's Host.
	Names []Name `yaml:"names,omitempty"`
}

// Payload is bytes at a place.
type Payload struct {
	// Offset is from the beginning of the upper layer's payload.
	Offset int `yaml:"offset"`
	// Bytes are hexadecimal digits. A packet that ends before them does not match.
	Bytes Hex `yaml:"bytes"`
	// Mask has the bits that count, and as many bytes; without one all count.
	Mask Hex `yaml:"mask,omitempty"`
}
