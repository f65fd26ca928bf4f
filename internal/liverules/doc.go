// Package liverules reads the rules of the machine that queue packets, whoever
// made them, and says of each where it stands against connection tracking. It
// changes nothing and loads no module of iptables by looking.
//
// # What is read
//
// All tables of nftables in one consistent view, over netlink; this covers what
// iptables-nft writes. The tables of legacy iptables and ip6tables through
// getsockopt, if /proc/thread-self/net says that they exist: asking for another
// one would create it. Everything is that of the calling thread's network
// namespace. ebtables and arptables of the legacy kind have no NFQUEUE.
//
// Reading takes CAP_NET_ADMIN in the user namespace that owns the network
// namespace. What could not be read is listed in [Rules.Unread], and then the
// absence of a rule means nothing.
//
// # What is made of it
//
// Both sources are brought into one model (chain.go), from which the rest is
// computed without a kernel: from which base chains a rule can be reached, and
// by which packets (walk.go); whether it holds packets between conntrack's lookup
// and its confirm (position.go, exposure.go); what else is in the packets' way
// (order.go).
//
// # What packets come
//
// Of each condition the analysis takes what it says of families, protocols, ports,
// types of ICMP and conntrack's states (limits.go): comparisons, ranges and sets of
// nftables, and the matches of xtables. [Selection] has what all of them on the way
// to a rule leave. What is not understood, or may change without a change of the
// rules (sets that time out, or that packets add to), limits nothing: a selection may
// have more packets than come, and never fewer.
//
// What a packet may lack ends a rule as a condition that is not met does (NFT_BREAK), though nothing compares it: a
// map's value, conntrack's mark, a header that is to be written. Such a rule has a condition in brackets.
//
// # Changes
//
// [Watch] tells that something has changed. Rules are then read again as a whole.
//
// # What it cannot know
//
// Whether conntrack is active is told by the rules that need it, by objects and sets of
// nftables that do (`ct helper`, `ct count`), and by IPVS. Entries in its table prove
// nothing, as they outlive the rules, and other parts of the kernel make some without
// conntrack's hooks (Open vSwitch, act_ct).
//
// Two rules are taken to meet the same packets unless their families differ. Where
// one is certain that a rule covers another, it is because all its conditions are
// literally among the other's.
package liverules
