// Package census makes out of conntrack's events what they say about flows: who makes the most, how long they live, and
// which have begun and not ended.
//
// It exists apart from package ct, which receives the events, as it is pure: no sockets and no clock, so that its tests
// need no kernel. All of it is bounded, however many flows there are.
//
// A [Census] keeps a table of the flows under way. Where events were lost, the kernel's own table, read afterwards,
// puts it right ([ct.Resyncer]), and what had to be put right is counted.
//
// # Traps
//
// A Census belongs to one goroutine. Times are those of the caller, who knows when events were received; lifetimes are
// exact only where the kernel sends its own (net.netfilter.nf_conntrack_timestamp).
package census
