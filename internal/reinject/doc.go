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
// The copy's route is looked up by its addresses, its mark and the interface
// that the packet was leaving through; rules by the sending socket (owner, cgroup)
// or by the interface it came in through (iif) do not match it. A packet of 0
// identification gets one from the kernel.
package reinject
