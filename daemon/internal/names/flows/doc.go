// Package flows finds the name of a flow from its packets, because a packet alone rarely
// has it: a hello is spread over packets, and those behind it have none. It puts the
// decoders and the reassembly together, and remembers what was found.
//
// A packet is given to Begin. Next returns its results, of which there is one, or one for
// each question in a segment of DNS over TCP: a verdict on the packet has to suit all.
// Accept tells that the packet goes on. Without it, questions of the packet count as not
// asked, and are found again when the packet is sent again.
//
// # Which protocol
//
// DNS is what goes to or comes from Config.DNSPorts, message by message. Elsewhere, over
// TCP the first byte tells TLS from HTTP, and over UDP the first packet tells QUIC, at any
// port. Everything else has no name (names.None). A QUIC version that nobody here can
// open is names.Hidden at port 443, and nothing elsewhere.
//
// # Where a flow begins
//
// A TCP stream begins behind its SYN, as the server confirms it where both directions come
// by. A flow whose SYN did not come by, because it is older than the daemon or was
// forgotten, is names.TooLong: what looks like a request in its middle may be anything. A
// second SYN with another number begins the flow again only if it is a fresh one: who has
// conntrack's word (NFQA_CT_INFO) passes that, as a client could otherwise have a name
// read that its server never takes.
//
// Packets of the server have the flow's result and change nothing else.
//
// # Limits
//
// A QUIC flow is its addresses and ports: a client that has several connections on one
// pair of them has the name of the one that began last. Of the protocols that a client
// offers, the first 64 bytes are remembered. Fragments are not put together: conntrack
// does that before.
//
// A Table belongs to one goroutine, takes its memory once, and has no clock.
package flows
