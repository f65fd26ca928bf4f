// Package packet reads the headers of an IP packet where they lie: no copy, no
// allocation, no socket. It exists because the verdict path looks at every
// packet once, and because a packet's identity must be the one that the
// kernel's connection tracking gives it: two packets with one conntrack tuple
// and two Keys are a clash that the gate does not see.
//
// A View keeps a reference to the bytes given to Decode and is meant to be
// reused for the next packet. What L4 and Payload return is valid as long as
// those bytes are, no longer than until the next receive into their buffer.
//
// Who decides by rules has to see what they are about. Decode follows IPv6 extension
// headers, as the kernel does, and refuses a packet that ends before its ports: it would
// pass by every rule on them.
//
// # A bound for headers
//
// All headers of a packet, the upper layer's included, are to lie in its first MaxHeaders
// bytes. Nothing else of it is read but payload, and a packet whose headers go on behind
// them is refused. So a copy that was cut there reads as the whole packet does, and nobody
// can tell by a verdict how much was copied.
//
// Decode follows the kernel where the two RFC-conforming readings differ:
// extension headers are skipped like ipv6_skip_exthdr does (AH is skipped in
// IPv6 and is an upper protocol in IPv4, as in nf_conntrack), and the tuple is
// that of nf_ct_get_tuple.
package packet
