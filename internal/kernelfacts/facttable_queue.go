package kernelfacts

// queueFacts are faults of queues and verdicts, whether packets clash or not.
var queueFacts = []Fact{
	{
		ID:       FactClonedDropped,
		Effect:   "a queued packet whose unconfirmed entry is shared with a clone is dropped, counted nowhere",
		Trigger:  "a packet that was cloned before its entry was confirmed",
		Cause:    []Commit{clonedDropped},
		Mainline: []Change{{V(0, 0, 0), NotAffected}, {V(6, 11, 0), Affected}},
		Stable:   clonedDroppedIn,
		rebuilds: clonedDroppedInRHEL,
	},
	{
		ID:       FactGRODropped,
		Effect:   "every segment of an aggregated UDP packet of a new flow is dropped, counted nowhere",
		Trigger:  "UDP GRO, and a queue without F_GSO",
		CVEs:     []string{"CVE-2026-45859"},
		Cause:    []Commit{clonedDropped},
		Fix:      []Commit{{"207b3ebacb61", "netfilter: nfnetlink_queue: do shared-unconfirmed check before segmentation"}},
		Mainline: []Change{{V(0, 0, 0), NotAffected}, {V(6, 11, 0), Affected}, {V(7, 0, 0), Fixed}},
		Stable: []Change{
			{V(5, 15, 166), Affected}, {V(6, 1, 107), Affected}, {V(6, 1, 191), Fixed}, {V(6, 6, 48), Affected}, {V(6, 10, 7), Affected},
			{V(6, 12, 75), Fixed}, {V(6, 18, 14), Fixed}, {V(6, 19, 4), Fixed},
		},
		rebuilds: clonedDroppedInRHEL,
	},
	{
		// A trap: the first kernels of 6.12, 6.18 and 6.19 that fix the row before
		// bring this one.
		ID:       FactVerdictUAF,
		Effect:   "nfqnl_recv_verdict uses a freed packet of the table that all queues share: the machine may crash",
		Trigger:  "a verdict",
		CVEs:     []string{"CVE-2026-43084"},
		Cause:    []Commit{{"e19079adcd26", "netfilter: nfnetlink_queue: optimize verdict lookup with hash table"}},
		Fix:      []Commit{{"936206e3f6ff", "netfilter: nfnetlink_queue: make hash table per queue"}},
		Mainline: []Change{{V(0, 0, 0), NotAffected}},
		Stable: []Change{
			{V(6, 12, 75), Affected}, {V(6, 12, 83), Fixed},
			{V(6, 18, 14), Affected}, {V(6, 18, 24), Fixed},
			{V(6, 19, 4), Affected}, {V(6, 19, 14), Fixed},
		},
	},
	{
		ID:       FactMangle,
		Effect:   "a verdict that cuts a packet below its transport header makes the kernel panic",
		Trigger:  "a verdict that replaces the payload",
		CVEs:     []string{"CVE-2022-36946"},
		Fix:      []Commit{{"99a63d36cb3e", "netfilter: nf_queue: do not allow packet truncation below transport header offset"}},
		Mainline: []Change{{V(0, 0, 0), Affected}, {V(5, 19, 0), Fixed}},
		Stable: []Change{
			{V(4, 9, 326), Fixed}, {V(4, 14, 291), Fixed}, {V(4, 19, 255), Fixed}, {V(5, 4, 209), Fixed}, {V(5, 10, 135), Fixed},
			{V(5, 15, 59), Fixed}, {V(5, 18, 16), Fixed},
		},
		rebuilds: []rebuild{
			{dist: "el7", base: V(3, 10, 0), status: NotAffected, streams: true, reason: "Red Hat lists RHEL 7 as not affected"},
			{dist: "el8", base: V(4, 18, 0), from: []int{425, 3, 1}, streams: true, status: Fixed, reason: "fixed in 4.18.0-425.3.1.el8"},
			{dist: "el8", base: V(4, 18, 0), before: []int{425, 3, 1}, status: Affected, reason: "older than 4.18.0-425.3.1.el8, which has the fix"},
			{dist: "el9", base: V(5, 14, 0), from: []int{162, 6, 1}, streams: true, status: Fixed, reason: "fixed in 5.14.0-162.6.1.el9"},
			{dist: "el9", base: V(5, 14, 0), before: []int{162, 6, 1}, status: Affected, reason: "older than 5.14.0-162.6.1.el9, which has the fix"},
		},
	},
	{
		ID:       "flush-of-all-queues",
		Effect:   "where any base chain is deleted, anybody's, all packets that wait in the namespace's queues are dropped, counted nowhere",
		Trigger:  "a table, or a chain with a hook, is deleted",
		Fix:      []Commit{{Hash: "72ac1c0937df"}}, // in nf-next, and in no release
		Mainline: []Change{{V(0, 0, 0), NotAffected}, {V(4, 15, 0), Affected}},
	},
	{
		ID:       "rewrites-refused",
		Effect:   "changed payloads are refused in user namespaces, on bridges, and where IP options, extension headers or the length change: the packet is dropped",
		Trigger:  "a verdict that replaces the payload",
		Cause:    []Commit{{Hash: "54f34607d184"}},
		Mainline: []Change{{V(0, 0, 0), NotAffected}, {V(7, 1, 0), Unknown}, {V(7, 2, 0), Affected}},
		Remarks:  []Remark{{V(7, 3, 0), "since 7.3 also a changed protocol, and fragments with an entry"}},
	},
	{
		ID:       "close-unbind-race",
		Effect:   "a queue that one thread unbinds while another closes the socket of the same port id crashes the machine",
		Trigger:  "a program that means harm",
		CVEs:     []string{"CVE-2026-98624"},
		Fix:      []Commit{{"9461613afc59", "netfilter: nfnetlink_queue: hold nfnl mutex in event notifier"}},
		Mainline: []Change{{V(0, 0, 0), Unknown}, {V(5, 10, 0), Affected}, {V(7, 3, 0), Fixed}},
		Stable:   []Change{{V(5, 10, 1), Affected}, {V(6, 1, 189), Fixed}, {V(6, 12, 112), Fixed}, {V(7, 2, 9), Fixed}},
		Unlisted: V(7, 2, 0),
	},
	{
		ID:       "null-at-verdict",
		Effect:   "nf_conntrack_update meets a null pointer when a verdict returns: the machine may crash",
		Trigger:  "a clash of packets that wait in an NFQUEUE",
		Fix:      []Commit{{"e1f543dc660b", "netfilter: conntrack: fix NULL pointer dereference in nf_confirm_cthelper"}},
		Mainline: []Change{{V(0, 0, 0), NotAffected}, {V(5, 7, 0), Affected}, {V(6, 4, 0), Fixed}},
		Stable: []Change{
			{V(5, 4, 44), Affected}, {V(5, 4, 247), Fixed}, {V(5, 6, 16), Affected}, {V(5, 10, 184), Fixed}, {V(5, 15, 117), Fixed},
			{V(6, 1, 34), Fixed}, {V(6, 3, 8), Fixed},
		},
	},
	{
		ID:       "reinjected-clash-crash",
		Effect:   "nf_conntrack_update uses a freed entry after a clash at re-injection: the machine may crash",
		Trigger:  "a clash of packets that wait in an NFQUEUE",
		Fix:      []Commit{{"d005fbb855d3", "netfilter: conntrack: refetch conntrack after nf_conntrack_update()"}},
		Mainline: []Change{{V(0, 0, 0), NotAffected}, {V(5, 7, 0), Affected}, {V(5, 8, 0), Fixed}},
		Stable:   []Change{{V(5, 4, 44), Affected}, {V(5, 4, 52), Fixed}, {V(5, 6, 16), Affected}, {V(5, 7, 9), Fixed}},
	},
	{
		ID:       "socket-reference",
		Effect:   "a queued packet keeps a socket that is freed: the machine may crash",
		Trigger:  "a packet of a local socket waits for its verdict while the socket is closed",
		CVEs:     []string{"CVE-2022-48911"},
		Fix:      []Commit{{"c3873070247d", "netfilter: nf_queue: fix possible use-after-free"}},
		Mainline: []Change{{V(0, 0, 0), Affected}, {V(5, 17, 0), Fixed}},
		Stable: []Change{
			{V(4, 9, 305), Fixed}, {V(4, 14, 270), Fixed}, {V(4, 19, 233), Fixed}, {V(5, 4, 183), Fixed}, {V(5, 10, 104), Fixed},
			{V(5, 15, 27), Fixed}, {V(5, 16, 13), Fixed},
		},
	},
	{
		ID:       "queue-destroyed",
		Effect:   "packets of a queue that ends are put back without the protection of RCU: the machine may crash",
		Trigger:  "a program of a queue ends while packets wait",
		CVEs:     []string{"CVE-2024-36286"},
		Fix:      []Commit{{"dc21c6cc3d69", "netfilter: nfnetlink_queue: acquire rcu_read_lock() in instance_destroy_rcu()"}},
		Mainline: []Change{{V(0, 0, 0), Affected}, {V(6, 10, 0), Fixed}},
		Stable: []Change{
			{V(4, 19, 316), Fixed}, {V(5, 4, 278), Fixed}, {V(5, 10, 219), Fixed}, {V(5, 15, 161), Fixed}, {V(6, 1, 93), Fixed},
			{V(6, 6, 33), Fixed}, {V(6, 9, 4), Fixed},
		},
		rebuilds: []rebuild{
			{dist: "el8", base: V(4, 18, 0), from: []int{553, 16, 1}, streams: true, status: Fixed, reason: "fixed in 4.18.0-553.16.1.el8"},
			{dist: "el8", base: V(4, 18, 0), before: []int{553, 16, 1}, status: Affected, reason: "older than 4.18.0-553.16.1.el8, which has the fix"},
		},
	},
	{
		ID:       "namespace-setup-failed",
		Effect:   "a network namespace whose set-up fails leaves a freed table behind: the machine may crash",
		Trigger:  "a new network namespace, and no memory for it",
		CVEs:     []string{"CVE-2022-50780"},
		Fix:      []Commit{{"d266935ac43d", "net: fix UAF issue in nfqnl_nf_hook_drop() when ops_init() failed"}},
		Mainline: []Change{{V(0, 0, 0), Affected}, {V(6, 1, 0), Fixed}},
		Stable:   []Change{{V(4, 19, 264), Fixed}, {V(5, 4, 223), Fixed}, {V(5, 10, 153), Fixed}, {V(5, 15, 77), Fixed}, {V(6, 0, 7), Fixed}},
	},
	{
		ID:       "conntrack-timeout",
		Effect:   "a wrong timeout of the entry is read and set",
		Trigger:  "a queue with F_CONNTRACK",
		CVEs:     []string{"CVE-2023-53635"},
		Fix:      []Commit{{"73db1b8f2bb6", "netfilter: conntrack: fix wrong ct->timeout value"}},
		Mainline: []Change{{V(0, 0, 0), NotAffected}, {V(4, 4, 0), Affected}, {V(6, 4, 0), Fixed}},
		Stable:   []Change{{V(6, 1, 28), Fixed}, {V(6, 2, 15), Fixed}, {V(6, 3, 2), Fixed}},
	},
	{
		ID:         "sctp-checksums",
		Effect:     "SCTP packets leave the queue with wrong checksums, and are lost",
		Trigger:    "packets of SCTP in a queue",
		Fix:        []Commit{{Subject: "netfilter: nfnetlink_queue: unbreak SCTP traffic"}},
		Mainline:   []Change{{V(0, 0, 0), Affected}, {V(6, 12, 0), Fixed}},
		Stable:     []Change{{V(6, 1, 190), Fixed}},
		Unlisted:   V(6, 12, 0),
		Confidence: Medium,
	},
	{
		ID:         "mac-header-read",
		Effect:     "a packet whose link-layer header was cleared is read beyond its end",
		Trigger:    "a packet without a link-layer header in a queue",
		Fix:        []Commit{{Subject: "netfilter: nfnetlink_queue: fix OOB when mac header was cleared"}},
		Mainline:   []Change{{V(0, 0, 0), Affected}, {V(5, 16, 0), Fixed}},
		Stable:     []Change{{V(5, 10, 80), Fixed}},
		Unlisted:   V(5, 16, 0),
		Confidence: Medium,
	},
	{
		ID:       "raw-header-length",
		Effect:   "an IP header length below 5 in a raw socket's packet is read beyond its end; since the fix it is EINVAL",
		Trigger:  "a raw socket with IP_HDRINCL",
		CVEs:     []string{"CVE-2026-64114"},
		Fix:      []Commit{{"915fab69823a", "ipv4: raw: reject IP_HDRINCL packets with ihl < 5"}},
		Mainline: []Change{{V(0, 0, 0), Affected}, {V(7, 1, 0), Fixed}},
		Stable: []Change{
			{V(5, 10, 258), Fixed}, {V(5, 15, 209), Fixed}, {V(6, 1, 175), Fixed}, {V(6, 6, 142), Fixed}, {V(6, 12, 92), Fixed},
			{V(6, 18, 34), Fixed}, {V(7, 0, 11), Fixed},
		},
	},
}

var clonedDropped = Commit{"7d8dc1c7be8d", "netfilter: nf_queue: drop packets with cloned unconfirmed conntracks"}

// clonedDroppedIn are the stable branches that took clonedDropped; 5.10 and older did
// not.
var clonedDroppedIn = []Change{{V(5, 15, 166), Affected}, {V(6, 1, 107), Affected}, {V(6, 6, 48), Affected}, {V(6, 10, 7), Affected}}

var clonedDroppedInRHEL = []rebuild{
	{dist: "el7", base: V(3, 10, 0), streams: true, status: NotAffected, reason: "RHEL 7 has not the change that brings it"},
	{dist: "el8", base: V(4, 18, 0), streams: true, status: NotAffected, reason: "RHEL 8 has not the change that brings it"},
	{
		dist: "el9", base: V(5, 14, 0), streams: true, status: Affected, confidence: Medium,
		reason: "Red Hat lists RHEL 9 as affected, and not from which build on",
	},
	{
		dist: "el10", base: V(6, 12, 0), streams: true, status: Affected, confidence: Medium,
		reason: "Red Hat lists RHEL 10 as affected, and not up to which build",
	},
}
