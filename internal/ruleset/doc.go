// Package ruleset installs, shows and removes the rules that feed packets to
// the queues: one nftables table of the inet family, made and taken away as a
// whole, without an nft or iptables program.
//
// # The table
//
//	base chains    one for each hook of the placement: let the guard's copies
//	               pass, then jump to select
//	select         which packets: families, protocols, ports; goto queue
//	queue          the queue statement, with the fan-out over the queues; where
//	               Config.Entries is set, first those packets whose entry is
//	               known go on to queue-confirmed, -unconfirmed, -translated
//	exempt         placement notrack only: the same packets as select, untracked
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
