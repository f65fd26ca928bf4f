// Package quic opens the Initial packets of a QUIC client, because the ClientHello is in
// their CRYPTO frames. Their keys come from the packet itself: from the connection
// identifier that the client has chosen for the server (RFC 9001, 5.2; RFC 9369, 3.3.1). So
// whoever sees the packet can open it, and nothing is secret here.
//
// A Decoder goes through a datagram, packet by packet and frame by frame, and returns the
// CRYPTO frames; reassembly puts them together, and hello reads what comes out. A Conn is
// what is kept of a connection between datagrams: its keys.
//
// # Which keys
//
// A client changes the identifier as soon as the server has chosen its own, and the keys
// stay. They change with a Retry, which makes them new from the server's identifier, and
// with the version, where client and server agree on another. So a packet is tried with
// the connection's keys, with the same identifier for another version, and with its own
// identifier: as a Retry's, or because it begins another connection on the same ports.
// That is told (Frame.Restart), as all that was put together before is void.
//
// A packet that cannot be opened is passed over, as servers do. A Retry, a version
// negotiation and other packets of a server carry no hello.
//
// # What it costs
//
// Keys are derived without an allocation. The standard library's ciphers cannot be used
// without: a set of keys makes two AES blocks and one GCM, 3 allocations of 1.8 KB in all
// (go test ./daemon/internal/names/quic -run Alloc -v), once for each connection. Further
// packets of the connection allocate nothing.
//
// A sender that puts another identifier into each packet asks for a set of keys, and two
// where the flow has some, with each packet. That is a few microseconds; but so that it
// cannot add up, a Decoder makes no more sets in a second than it was made for. A packet
// beyond that stays closed (Spent), and its flow has no name that could be read in time.
package quic
