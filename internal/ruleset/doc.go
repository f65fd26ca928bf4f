// Package ruleset installs, shows and removes the rules that feed packets to
// the queues: one nftables table of the inet family, made and taken away as a
// whole, without an nft or iptables program.
//
// # The table
//
//	base chains    one for each hook of the placement: jump to select
//	select         which packets: families, protocols, ports; goto queue
//	queue          the queue statement, with the fan-out over the queues
//	exempt         placement notrack only: the same packets as select, untracked
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
//
// In nftables the whole table is one owner's: all gate chains are there from
// [Install] on, and [Installed.SetGate] fills them.
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
