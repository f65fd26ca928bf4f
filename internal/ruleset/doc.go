// Package ruleset installs, shows and removes the rules that feed packets to
// the queues: one nftables table of the inet family, made and taken away as a
// whole, without an nft or iptables program.
//
// # The table
//
//	base chains    one for each hook of the placement: jump to select
//	select         which packets: families, protocols, ports; goto verdicts
//	verdicts       the queue statement, with the fan-out over the queues
//	exempt         placement notrack only: the same packets as select, untracked
//	queues-...     the map to the queues, of a fan-out that has one
//
// and where Config.Gate is set
//
//	gate-output, gate-prerouting          before conntrack's lookup: settled flows
//	                                      pass, others goto gate-select
//	gate-tracked                          packets that come with a zone, an entry, or
//	                                      are not tracked
//	gate-select, gate-queue               which packets; the gate's queue statements
//	refresh-ipv4, refresh-ipv6            settled: now and then their elements live on
//	settled-output, settled-prerouting    behind the lookup: what has no entry goto
//	                                      settled-unconfirmed
//	settled-unconfirmed                   is it listed, then goto announce
//	announce-ipv4, announce-ipv6          strike it off and queue it as an announcement
//	settled-ipv4, settled-ipv6            the settled sets: addresses and ports
//	ports-...                             sets of the ports that enter, or are exempt
//
// The gate's chains are there from [Install] on, also while they are empty, and
// [Installed.SetGate] fills them.
//
// # What a settled packet costs
//
// The gate's rules run for each packet of the guarded protocols. Some 250 ns in a
// hook, and 400 over loopback, which has two, were measured where a packet sent and
// judged takes 6 us of CPU. 30 of them are each empty base chain, and 10 to 20 each
// expression that is not one of the few with a way of their own in the kernel
// (comparisons and loads of up to 4 bytes). Tried and left: a random number for the
// refresh (60 ns, a count 18), both IPv4 addresses in one load, both IPv6 addresses
// in one each, both ports as one part of the key (no difference).
//
// `nft list table inet verdictd` shows it too, and every rule carries a comment
// that begins with "verdictd: ". A table without such comments is somebody
// else's and is not touched.
//
// # Two kinds of queue statement
//
// A kernel has nftables' own queue statement (CONFIG_NFT_QUEUE), or the NFQUEUE
// target of xtables, which nftables can use too (CONFIG_NFT_COMPAT), or both.
// [Probe] finds out by putting a rule with it into a table that the same
// transaction deletes. The two differ in one function, queueStatement. Where the
// xtables target is used, nft's listing warns that the table is managed by
// iptables-nft; nothing is wrong then.
//
// # Lifetime
//
// Everything works on the network namespace of the calling thread. The rules
// outlive the process. To stop without dropping packets: [Installed.Detach],
// give verdicts until the queues are empty, close them, [Installed.Remove]. When
// a base chain goes away the kernel drops all packets that wait in any queue of
// that namespace (nf_queue_nf_hook_drop), which is why Detach leaves them.
package ruleset
