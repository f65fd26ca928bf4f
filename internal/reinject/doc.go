// Package reinject sends a copy of a queued packet once more, through a raw
// socket, so that conntrack looks it up afresh and finds the entry that the
// flow's first packet has confirmed meanwhile.
//
// The copy is the packet byte for byte from its IP header on (IP_HDRINCL;
// IPPROTO_RAW implies it for IPv6) and carries the packet's mark with one bit
// added, which the queue's rules let pass. It enters at OUTPUT, whatever hook
// the packet was queued in: a packet that was on its way in leaves through
// loopback with its foreign source address, and comes in again.
//
// Sending is synchronous: when Send returns, the copy has run through OUTPUT and
// POSTROUTING. Its order behind packets sent before by the same thread is kept.
//
// # Limits
//
// A copy longer than the path's MTU is refused (EMSGSIZE): raw sockets do not
// fragment what they did not build. The kernel computes an IPv4 header's
// checksum, and fills in an identification of 0.
package reinject
