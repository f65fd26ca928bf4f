package testkit

import "strings"

// KnownOops is what a kernel prints that delivers events from a freed entry.
const KnownOops = `[  100.000001] BUG: kernel NULL pointer dereference, address: 0000000000000a30
[  100.000002] Oops: 0000 [#1] SMP
[  100.000003] CPU: 1 PID: 5027 Comm: verdictd Not tainted 5.15.40 #1
[  100.000004] RIP: 0010:nf_ct_deliver_cached_events+0x2d/0x110 [nf_conntrack]
[  100.000005] Call Trace:
[  100.000006]  nf_confirm+0x4e/0x100 [nf_conntrack]
[  100.000007]  nf_reinject+0x160/0x1b0
[  100.000008]  nfqnl_recv_verdict+0x216/0x310 [nfnetlink_queue]
[  100.000009] ---[ end trace 0000000000000000 ]---
`

// UnknownOops is one in which no known fault is recognised.
var UnknownOops = strings.NewReplacer("nf_ct_deliver_cached_events", "ext4_lookup", "nf_confirm",
	"path_lookupat").Replace(KnownOops)
