package kernelfacts

// clashFacts are about what becomes of a clash.
var clashFacts = []Fact{
	{
		ID:      FactNoResolution,
		Effect:  "the second packet of a clash is dropped, always",
		Trigger: "two packets of a new flow are tracked before the first is confirmed",
		Fix: []Commit{
			{"71d8c47fc653", "netfilter: conntrack: introduce clash resolution on insertion race"},
		},
		Mainline: []Change{{V(0, 0, 0), Affected}, {V(4, 7, 0), Fixed}},
		rebuilds: []rebuild{
			{dist: "el7", base: V(3, 10, 0), from: []int{1127}, status: Fixed, streams: true, reason: "RHEL 7.8 and 7.9 carry the resolver"},
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
		// 4.19 has the first of the two commits, 5.0 both; 4.14.106 has the second alone.
		Mainline: []Change{{V(0, 0, 0), NotAffected}, {V(4, 7, 0), Affected}, {V(5, 0, 0), Fixed}},
		Stable:   []Change{{V(4, 14, 173), Fixed}, {V(4, 19, 29), Fixed}},
	},
	{
		ID:       FactReinjection,
		Effect:   "a clash is resolved when the verdict puts the packet back, counted nowhere; where that fails, an accept becomes a drop, counted nowhere",
		Trigger:  "a clash of packets that wait in an NFQUEUE",
		Cause:    []Commit{reinjectionResolver},
		Fix:      []Commit{reinjectionRemoved},
		Mainline: reinjection,
		rebuilds: []rebuild{noReinjectionIn79},
	},
	{
		ID:       FactDNATMisroute,
		Effect:   "the second packet of a clash is translated again but not routed again, and leaves by the wrong path (netfilter bug 1766)",
		Trigger:  "NFQUEUE in FORWARD or POSTROUTING, and DNAT",
		Cause:    []Commit{reinjectionResolver},
		Fix:      []Commit{reinjectionRemoved},
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
		ID:       "reply-entry-vanishes",
		Effect:   "an entry that was inserted for replies alone is gone with the first reply",
		Trigger:  "a clash of entries that are not the same",
		Cause:    []Commit{{"6a757c07e51f", "netfilter: conntrack: allow insertion of clashing entries"}},
		Fix:      []Commit{{"c46172147ebb", "netfilter: conntrack: do not auto-delete clash entries on reply"}},
		Mainline: []Change{{V(0, 0, 0), NotAffected}, {V(5, 6, 0), Affected}, {V(5, 9, 0), Fixed}},
		Stable:   []Change{{V(5, 8, 8), Fixed}},
	},
	{
		ID:      "reverse-clash",
		Effect:  "a clash with an entry of the reverse direction is not resolved",
		Trigger: "a clash of two flows that are each other's reverse",
		Fix: []Commit{
			{"a4e6a1031e77", "netfilter: conntrack: add clash resolution for reverse collisions"},
			reverseReallocation,
		},
		// The second of the two commits is in 6.11.4 too, alone.
		Mainline: []Change{{V(0, 0, 0), Affected}, {V(6, 12, 0), Fixed}},
		Unlisted: V(6, 12, 0),
	},
	{
		ID:       "reverse-clash-nat-dropped",
		Effect:   "the packet of a clash in the reply direction of a translated flow is dropped (netfilter bug 1795)",
		Trigger:  "a clash of two translated flows that are each other's reverse",
		Cause:    []Commit{reverseReallocation},
		Fix:      []Commit{{Subject: "netfilter: nf_nat: also check reverse tuple to obtain clashing entry"}},
		Mainline: []Change{{V(0, 0, 0), NotAffected}, {V(6, 12, 0), Affected}, {V(6, 13, 0), Unknown}},
		Stable:   []Change{{V(6, 11, 4), Affected}, {V(6, 12, 34), Fixed}},
		Remarks:  []Remark{{V(6, 12, 0), "until 6.12.64 ports are rewritten without need besides"}},
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
				dist: "el7", base: V(3, 10, 0), from: []int{1160, 119, 2}, streams: true, status: Affected, confidence: Medium,
				reason: "RHEL 7 is out of the fix's support scope, and no erratum was found up to 3.10.0-1160.119.1.el7",
			},
			{
				dist: "el7", base: V(3, 10, 0), from: []int{1160}, status: Affected,
				reason: "RHEL 7.9 has the resolver, and no erratum up to 3.10.0-1160.119.1.el7 has the fix",
			},
			{
				dist: "el7", base: V(3, 10, 0), from: []int{1127}, before: []int{1128}, status: Affected, confidence: Medium,
				reason: "RHEL 7.8 has the resolver, and no erratum with the fix was found",
			},
			{
				dist: "el8", base: V(4, 18, 0), from: []int{425, 3, 1}, status: Fixed, streams: true,
				reason: "fixed in 4.18.0-425.3.1.el8 (RHSA-2022:7683, RHEL 8.7)",
			},
			{
				dist: "el8", base: V(4, 18, 0), before: []int{425, 3, 1}, status: Affected,
				reason: "older than 4.18.0-425.3.1.el8, which has the fix (RHSA-2022:7683, RHEL 8.7)",
			},
			{
				dist: "amzn2", base: V(4, 14, 285), from: []int{215, 501}, status: Fixed,
				reason: "fixed in 4.14.285-215.501.amzn2",
			},
			{
				dist: "amzn2", base: V(5, 15, 50), from: []int{23, 125}, status: Fixed,
				reason: "fixed in 5.15.50-23.125.amzn2",
			},
		},
	},
	{
		ID:       FactConfirmedEarly,
		Effect:   "an entry is marked confirmed before it is inserted: its reuse crashes the garbage collection",
		Trigger:  "a clash, or a hash chain that is too long",
		CVEs:     []string{"CVE-2025-38472"},
		Cause:    []Commit{{"1397af5bfd7d", "netfilter: conntrack: remove the percpu dying list"}},
		Fix:      []Commit{{"2d72afb34065", "netfilter: nf_conntrack: fix crash due to removal of uninitialised entry"}},
		Mainline: []Change{{V(0, 0, 0), NotAffected}, {V(5, 19, 0), Affected}, {V(6, 16, 0), Fixed}},
		Stable: []Change{
			{V(5, 18, 13), Affected}, {V(6, 1, 147), Fixed}, {V(6, 6, 100), Fixed}, {V(6, 12, 40), Fixed}, {V(6, 15, 8), Fixed},
		},
		Advisories: []string{"RHSA-2025:16880"},
	},
	{
		ID:         "gre-clash-dropped",
		Effect:     "a clash of GRE packets is not resolved: the second is dropped",
		Trigger:    "a clash of packets of GRE",
		Fix:        []Commit{{Subject: "netfilter: conntrack: allow insertion clash of gre protocol"}},
		Mainline:   []Change{{V(0, 0, 0), Affected}, {V(6, 5, 0), Fixed}},
		Confidence: Medium,
	},
	{
		ID:       "generic-clash-dropped",
		Effect:   "a clash of packets of a protocol that conntrack has no tracker for is not resolved: the second is dropped",
		Trigger:  "a clash of packets of such a protocol",
		Fix:      []Commit{{"8a49fc8d8a3e", "netfilter: nf_conntrack: Add allow_clash to generic protocol handler"}},
		Mainline: []Change{{V(0, 0, 0), Affected}, {V(7, 0, 0), Fixed}},
		Stable:   []Change{{V(5, 10, 252), Fixed}, {V(6, 1, 165), Fixed}, {V(6, 12, 75), Fixed}},
		Unlisted: V(7, 0, 0),
	},
	{
		ID:         "icmp-clash-dropped",
		Effect:     "a clash of ICMP queries is not resolved: the second is dropped",
		Trigger:    "a clash of ICMP or ICMPv6 queries",
		Fix:        []Commit{{Hash: "f7becf0dad8f"}},
		Mainline:   []Change{{V(0, 0, 0), Affected}, {V(7, 0, 0), Fixed}},
		Confidence: Medium,
	},
}

var reinjection = []Change{{V(0, 0, 0), NotAffected}, {V(4, 18, 0), Affected}, {V(6, 12, 0), Fixed}}

// Commits of several rows.
var (
	reinjectionResolver = Commit{"368982cd7d1b", "netfilter: nfnetlink_queue: resolve clash for unconfirmed conntracks"}
	reinjectionRemoved  = Commit{"8af79d3edb5f", "netfilter: nfnetlink_queue: remove old clash resolution logic"}
	reverseReallocation = Commit{"d8f84a9bc7c4", "netfilter: nf_nat: don't try nat source port reallocation for reverse dir clash"}
)

// Later builds of 1160 are not known.
var noReinjectionIn79 = rebuild{
	dist: "el7", base: V(3, 10, 0), from: []int{1160}, before: []int{1160, 0}, status: NotAffected,
	reason: "RHEL 7.9 as released has no resolver at re-injection",
}
