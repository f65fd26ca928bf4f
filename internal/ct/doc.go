// Package ct reads connection tracking through ctnetlink: the per-CPU statistics with the two counters that
// tell of clashes (CTA_STATS_CLASH_RESOLVE, CTA_STATS_CHAIN_TOOLONG), and the events.
//
// It exists because the libraries at hand stop short: github.com/ti-mo/conntrack decodes neither of these two
// counters, and a kernel that does not send a counter cannot be told there from one that counted nothing. Here a
// [Value] says whether it was sent. And it allocates for each event, where a [Listener] takes them in batches and
// allocates nothing: tens of thousands a second are what a load of short flows makes. In the tests the library is the
// oracle.
//
// # Statistics and events are not alike
//
// Statistics are free of side effects. A listener for events is not: where nf_conntrack_events is 2 (the default
// from 5.19 on) the kernel attaches an event cache to new entries only while somebody in the network namespace
// listens, and the crash of CVE-2022-49561 needs that cache. So a listener takes part in the exposure that it
// watches. That is why [Conn] never joins a group, and [Listener] is a type of its own.
//
// # Loss
//
// A listener that is too slow is told so once (ENOBUFS), and from then on the kernel drops every event until the
// receive buffer is empty: a [Loss] has a beginning and an end. NETLINK_BROADCAST_ERROR, by which conntrackd has the
// kernel keep for later what it could not deliver, is not set: it changes what is watched.
//
// # Namespaces
//
// [Dial] and [Listen] open their socket in the network namespace of the calling thread (lock the goroutine to its
// thread before changing that). The socket stays in this namespace, whichever thread uses it afterwards.
//
// # Debugging
//
// NLDEBUG=level=1 in the environment makes the netlink library print each message. The same counters are in
// /proc/thread-self/net/stat/nf_conntrack (in hexadecimal, one row a CPU that may exist). Do not read /proc/net/stat:
// it belongs to the process's first thread. A listener's own socket is a row in /proc/thread-self/net/netlink, with
// its drops.
package ct
