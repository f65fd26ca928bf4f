package kernelfacts

// Names of facts that others branch on.
const (
	FactNoResolution   = "no-clash-resolution"
	FactReinjection    = "reinjection-resolver"
	FactDNATMisroute   = "dnat-misroute"
	FactClashCrash     = "clash-event-crash"
	FactConfirmedEarly = "confirmed-before-insertion"
	FactClonedDropped  = "cloned-unconfirmed-dropped"
	FactGRODropped     = "gro-segments-dropped"
	FactVerdictUAF     = "verdict-use-after-free"
)

// afterTable is the first mainline release that may carry the number after the
// last one (6.19) of which the faults of 2026 are known. Their mainline fixes
// are not.
var afterTable = V(6, 20, 0)

// facts is the table. A stable version is in it where the fix is known to be in
// that branch; what is not certain is left out and comes out as unknown. The
// subjects are those of the upstream commits.
var facts = []Fact{
	{
		ID:      FactNoResolution,
		Effect:  "the second packet of a clash is dropped, always",
		Trigger: "two packets of a new flow are tracked before the first is confirmed",
		Fix: []Commit{
			{"71d8c47fc653", "netfilter: conntrack: introduce clash resolution on insertion race"},
		},
		Mainline: []Change{{V(0, 0, 0), Affected}, {V(4, 7, 0), Fixed}},
		rebuilds: []rebuild{
			{dist: "el7", base: V(3, 10, 0), from: []int{1160}, status: Fixed, streams: true, reason: "RHEL 7.9 carries the resolver"},
		},
	},
	{
		ID:      "nat-clash-dropped",
		Effect:  "a clash of entries with NAT is not resolved although their tuples match or they have one origin: the packet is dropped",
		Trigger: "a clash of flows that are translated",
		Fix: []Commit{
			{"ed07d9a021df", "netfilter: nf_conntrack: resolve clash for matching conntracks"},
			{"4e35c1cb9460", "netfilter: nf_nat: skip nat clash resolution for same-origin entries"},
		},
		// 4.19 has the first of the two commits, 5.0 both.
		Mainline: []Change{{V(0, 0, 0), NotAffected}, {V(4, 7, 0), Affected}, {V(5, 0, 0), Fixed}},
		Stable:   []Change{{V(4, 9, 163), Fixed}, {V(4, 14, 106), Fixed}, {V(4, 19, 29), Fixed}},
	},
	{
		ID:       FactReinjection,
		Effect:   "a clash is resolved when the verdict puts the packet back, counted nowhere; where that fails, an accept becomes a drop, counted nowhere",
		Trigger:  "a clash of packets that wait in an NFQUEUE",
		Cause:    []Commit{{"368982cd7d1b", "netfilter: nfnetlink_queue: resolve clash for unconfirmed conntracks"}},
		Fix:      []Commit{{"8af79d3edb5f", "netfilter: nfnetlink_queue: remove old clash resolution logic"}},
		Mainline: reinjection,
		rebuilds: []rebuild{noReinjectionIn79},
	},
	{
		ID:       FactDNATMisroute,
		Effect:   "the second packet of a clash is translated again but not routed again, and leaves by the wrong path (netfilter bug 1766)",
		Trigger:  "NFQUEUE in FORWARD or POSTROUTING, and DNAT",
		Cause:    []Commit{{"368982cd7d1b", "netfilter: nfnetlink_queue: resolve clash for unconfirmed conntracks"}},
		Fix:      []Commit{{"8af79d3edb5f", "netfilter: nfnetlink_queue: remove old clash resolution logic"}},
		Mainline: reinjection,
		rebuilds: []rebuild{noReinjectionIn79},
	},
	{
		ID:       "reply-clash-dropped",
		Effect:   "a clashing entry is never inserted, not even for the reply direction alone: its packet is dropped",
		Trigger:  "a clash of entries that are not the same",
		Fix:      []Commit{{"6a757c07e51f", "netfilter: conntrack: allow insertion of clashing entries"}},
		Mainline: []Change{{V(0, 0, 0), Affected}, {V(5, 6, 0), Fixed}},
	},
	{
		ID:      "reverse-clash",
		Effect:  "a clash with an entry of the reverse direction is not resolved",
		Trigger: "a clash of two flows that are each other's reverse",
		Fix: []Commit{
			{"a4e6a1031e77", "netfilter: conntrack: add clash resolution for reverse collisions"},
			{"d8f84a9bc7c4", "netfilter: nf_nat: don't try nat source port reallocation for reverse dir clash"},
		},
		Mainline: []Change{{V(0, 0, 0), Affected}, {V(6, 12, 0), Fixed}},
		Unlisted: V(6, 12, 0),
	},
	{
		ID:      FactClashCrash,
		Effect:  "nf_conntrack_confirm uses the freed entry of the loser to deliver events: the machine may crash",
		Trigger: "a clash while conntrack events are on",
		CVEs:    []string{"CVE-2022-49561"},
		Cause: []Commit{
			{"71d8c47fc653", "netfilter: conntrack: introduce clash resolution on insertion race"},
		},
		Fix: []Commit{{"56b14ecec97f", "netfilter: conntrack: re-fetch conntrack after insertion"}},
		Mainline: []Change{
			{V(0, 0, 0), NotAffected}, {V(4, 7, 0), Affected}, {V(5, 19, 0), Fixed},
		},
		Stable: []Change{
			{V(4, 14, 282), Fixed}, {V(4, 19, 246), Fixed}, {V(5, 4, 197), Fixed}, {V(5, 10, 120), Fixed},
			{V(5, 15, 45), Fixed}, {V(5, 17, 13), Fixed}, {V(5, 18, 2), Fixed},
		},
		Remarks: []Remark{
			{V(4, 7, 0), "before 5.5 the entry's extension outlives it by an RCU grace period"},
			{V(5, 5, 0), "since 5.5 the entry's extension is freed at once (2ad9d7747c10)"},
		},
		rebuilds: []rebuild{
			{
				dist: "el7", base: V(3, 10, 0), from: []int{1160}, before: []int{1160, 0}, status: Affected,
				reason: "RHEL 7.9 as released has the resolver and lacks the fix",
			},
			{
				dist: "el8", base: V(4, 18, 0), from: []int{425, 3, 1}, status: Fixed, streams: true,
				reason: "fixed in 4.18.0-425.3.1.el8 (RHSA-2022:7683, RHEL 8.7)",
			},
			{
				dist: "el8", base: V(4, 18, 0), before: []int{425, 3, 1}, status: Affected,
				reason: "older than 4.18.0-425.3.1.el8, which has the fix (RHSA-2022:7683, RHEL 8.7)",
			},
		},
	},
	{
		ID:       FactConfirmedEarly,
		Effect:   "an entry is marked confirmed before it is inserted: its reuse crashes the garbage collection",
		Trigger:  "a clash, or a hash chain that is too long",
		CVEs:     []string{"CVE-2025-38472"},
		Fix:      []Commit{{"2d72afb34065", "netfilter: nf_conntrack: fix crash due to removal of uninitialised entry"}},
		Mainline: []Change{{V(0, 0, 0), NotAffected}, {V(5, 19, 0), Affected}, {V(6, 16, 0), Fixed}},
		Stable:   []Change{{V(6, 1, 147), Fixed}, {V(6, 6, 100), Fixed}, {V(6, 12, 40), Fixed}, {V(6, 15, 8), Fixed}},
	},
	{
		ID:       FactClonedDropped,
		Effect:   "a queued packet whose unconfirmed entry is shared with a clone is dropped, counted nowhere",
		Trigger:  "a packet that was cloned before its entry was confirmed",
		Cause:    []Commit{clonedDropped},
		Mainline: []Change{{V(0, 0, 0), NotAffected}, {V(6, 11, 0), Affected}},
		Stable:   []Change{{V(6, 1, 107), Affected}},
		Unlisted: V(6, 11, 0),
	},
	{
		ID:      FactGRODropped,
		Effect:  "every segment of an aggregated UDP packet of a new flow is dropped, counted nowhere",
		Trigger: "UDP GRO, and a queue without F_GSO",
		CVEs:    []string{"CVE-2026-45859"},
		Cause:   []Commit{clonedDropped},
		Fix:     []Commit{{"207b3ebacb61", "netfilter: nfnetlink_queue: do shared-unconfirmed check before segmentation"}},
		Mainline: []Change{
			{V(0, 0, 0), NotAffected}, {V(6, 11, 0), Affected}, {afterTable, Unknown},
		},
		Stable: []Change{
			{V(6, 1, 107), Affected}, {V(6, 1, 191), Fixed}, {V(6, 12, 75), Fixed}, {V(6, 18, 14), Fixed}, {V(6, 19, 4), Fixed},
		},
		// Where it is not known whether a branch has the cause, nor is this.
		Unlisted: V(6, 11, 0),
	},
	{
		// A trap: the first kernels of 6.12, 6.18 and 6.19 that fix the row before
		// bring this one.
		ID:       FactVerdictUAF,
		Effect:   "nfqnl_recv_verdict uses a freed packet of the table that all queues share: the machine may crash",
		Trigger:  "a verdict",
		CVEs:     []string{"CVE-2026-43084"},
		Cause:    []Commit{{Hash: "e19079adcd26"}},
		Fix:      []Commit{{"936206e3f6ff", "netfilter: nfnetlink_queue: make hash table per queue"}},
		Mainline: []Change{{V(0, 0, 0), NotAffected}, {afterTable, Unknown}},
		Stable: []Change{
			// Which 6.6 has the fix of the row before, and so perhaps this, is not known.
			{V(6, 6, 1), Unknown},
			{V(6, 12, 75), Affected}, {V(6, 12, 83), Fixed},
			{V(6, 18, 14), Affected}, {V(6, 18, 24), Fixed},
			{V(6, 19, 4), Affected}, {V(6, 19, 14), Fixed},
		},
	},
	{
		ID:       "bridge-verdict-leak",
		Effect:   "a queued packet is never freed",
		Trigger:  "a bad verdict on a packet of a bridge",
		CVEs:     []string{"CVE-2026-43451"},
		Mainline: []Change{{V(0, 0, 0), Unknown}},
		Stable: []Change{
			{V(6, 1, 167), Fixed}, {V(6, 6, 130), Fixed}, {V(6, 12, 78), Fixed}, {V(6, 18, 19), Fixed}, {V(6, 19, 9), Fixed},
		},
	},
	{
		ID:       "ct-template-removed",
		Effect:   "queued packets keep what a removed xt_CT or nft_ct rule had attached to them",
		Trigger:  "such a rule is removed while packets are queued",
		CVEs:     []string{"CVE-2026-23391", "CVE-2026-43060"},
		Mainline: []Change{{V(0, 0, 0), Unknown}},
		Stable:   []Change{{V(6, 1, 167), Fixed}},
	},
	{
		ID:      "mangle-below-transport",
		Effect:  "a verdict may cut a packet below its transport header",
		Trigger: "a verdict that replaces the payload",
		CVEs:    []string{"CVE-2022-36946"},
		// 5.18.16 is the only version known. A stable branch takes what the
		// mainline has, and 5.18 was cared for while 5.19 became 6.0: from there on
		// the fix is in.
		Mainline: []Change{{V(0, 0, 0), Unknown}, {V(6, 0, 0), Fixed}},
		Stable:   []Change{{V(5, 18, 16), Fixed}},
	},
}

var reinjection = []Change{{V(0, 0, 0), NotAffected}, {V(4, 18, 0), Affected}, {V(6, 12, 0), Fixed}}

// Later builds of 1160 are not known.
var noReinjectionIn79 = rebuild{
	dist: "el7", base: V(3, 10, 0), from: []int{1160}, before: []int{1160, 0}, status: NotAffected,
	reason: "RHEL 7.9 as released has no resolver at re-injection",
}

var clonedDropped = Commit{"7d8dc1c7be8d", "netfilter: nf_queue: drop packets with cloned unconfirmed conntracks"}
