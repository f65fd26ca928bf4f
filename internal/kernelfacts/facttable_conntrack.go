package kernelfacts

// conntrackFacts are faults of conntrack, its rules, its table and its events.
var conntrackFacts = []Fact{
	{
		ID:       "ct-template-removed",
		Effect:   "queued packets use what a removed rule of xt_CT or nft_ct had attached to them: the machine may crash",
		Trigger:  "such a rule is removed while packets are queued",
		CVEs:     []string{"CVE-2026-23391", "CVE-2026-43060"},
		Fix:      templateDrops,
		Mainline: []Change{{V(0, 0, 0), NotAffected}, {V(3, 4, 0), Affected}, {V(7, 0, 0), Fixed}},
		Stable:   templateFixed(Fixed),
		Remarks:  []Remark{{V(3, 4, 0), "before 4.19 by xt_CT alone"}, {V(4, 19, 0), "by xt_CT and nft_ct"}},
	},
	{
		ID:       "ct-template-flush",
		Effect:   "where a rule of xt_CT or nft_ct is removed, all packets that wait in the namespace's queues are dropped",
		Trigger:  "such a rule is removed while packets are queued",
		Cause:    templateDrops,
		Mainline: []Change{{V(0, 0, 0), NotAffected}, {V(7, 0, 0), Affected}},
		Stable:   templateFixed(Affected),
		Remarks:  []Remark{{V(7, 2, 0), "since 7.2 by nft_ct alone"}},
	},
	{
		ID:         "weakly-ordered",
		Effect:     "an entry's confirmed bit is read too early on processors that order memory weakly: the machine may crash",
		Trigger:    "a lookup while another CPU frees the entry, on ARM, POWER or RISC-V",
		Fix:        []Commit{{Subject: "netfilter: conntrack: fix crash due to confirmed bit load reordering"}},
		Mainline:   []Change{{V(0, 0, 0), NotAffected}, {V(5, 17, 0), Affected}, {V(5, 19, 0), Fixed}},
		Stable:     []Change{{V(5, 10, 236), Fixed}, {V(5, 18, 13), Fixed}},
		Confidence: Medium,
	},
	{
		ID:       "chain-limit",
		Effect:   "packets of new flows are dropped where a hash chain has 8 to 32 entries",
		Trigger:  "a table that is nearly full",
		Fix:      []Commit{{Subject: "netfilter: conntrack: adopt safer max chain length"}},
		Mainline: []Change{{V(0, 0, 0), NotAffected}, {V(5, 15, 0), Affected}, {V(6, 3, 0), Fixed}},
		Stable:   []Change{{V(6, 1, 20), Fixed}},
		Unlisted: V(6, 3, 0),
	},
	{
		ID:       "collector-bursts",
		Effect:   "the collection of dead entries comes in bursts, and events are lost",
		Trigger:  "a listener to events, and many flows",
		CVEs:     []string{"CVE-2022-49110"},
		Fix:      []Commit{{"2cfadb761d3d", "netfilter: conntrack: revisit gc autotuning"}},
		Mainline: []Change{{V(0, 0, 0), NotAffected}, {V(5, 14, 0), Affected}, {V(5, 18, 0), Fixed}},
		Stable: []Change{
			{V(4, 19, 206), Affected}, {V(5, 4, 144), Affected}, {V(5, 10, 62), Affected}, {V(5, 15, 34), Fixed},
			{V(5, 16, 20), Fixed}, {V(5, 17, 3), Fixed},
		},
	},
	{
		ID:         "listener-tracking",
		Effect:     "with nf_conntrack_events=2 events are lost where listeners are in several namespaces",
		Trigger:    "listeners to events in several network namespaces",
		Fix:        []Commit{{Subject: "netfilter: ctnetlink: make event listener tracking global"}},
		Mainline:   []Change{{V(0, 0, 0), NotAffected}, {V(5, 19, 0), Affected}, {V(6, 2, 0), Unknown}, {V(6, 3, 0), Fixed}},
		Stable:     []Change{{V(6, 1, 18), Fixed}},
		Unlisted:   V(6, 3, 0),
		Confidence: Medium,
	},
	{
		ID:         "mark-left-out",
		Effect:     "an event leaves out the mark of its entry",
		Trigger:    "a listener to events, and marks of 0",
		Cause:      []Commit{{"1feeae071507", "netfilter: ctnetlink: fix compilation warning after data race fixes in ct mark"}},
		Fix:        []Commit{{Subject: "netfilter: ctnetlink: revert to dumping mark regardless of event type"}},
		Mainline:   []Change{{V(0, 0, 0), NotAffected}, {V(6, 1, 0), Affected}, {V(6, 3, 0), Fixed}},
		Stable:     []Change{{V(5, 10, 159), Affected}, {V(5, 10, 175), Fixed}, {V(6, 1, 20), Fixed}},
		Unlisted:   V(6, 3, 0),
		Confidence: Medium,
	},
	{
		ID:         "event-redelivery",
		Effect:     "entries whose event could not be delivered pile up",
		Trigger:    "a listener that asks for reliable events",
		Fix:        []Commit{{Subject: "netfilter: ecache: fix inverted time_after() check"}},
		Mainline:   []Change{{V(0, 0, 0), NotAffected}, {V(5, 19, 0), Affected}, {V(7, 2, 0), Unknown}},
		Stable:     []Change{{V(6, 1, 178), Fixed}, {V(6, 12, 97), Fixed}},
		Unlisted:   V(7, 2, 0),
		Confidence: Medium,
	},
	{
		ID:       "table-dump-leak",
		Effect:   "a dump of the table that is cut off leaks an entry",
		Trigger:  "a program that lists the table, as `conntrack -L` does",
		CVEs:     []string{"CVE-2025-38721"},
		Fix:      []Commit{{Subject: "netfilter: ctnetlink: fix refcount leak on table dump"}},
		Mainline: []Change{{V(0, 0, 0), Affected}, {V(6, 17, 0), Fixed}},
		Stable: []Change{
			{V(5, 4, 297), Fixed}, {V(5, 10, 241), Fixed}, {V(5, 15, 190), Fixed}, {V(6, 1, 149), Fixed}, {V(6, 6, 103), Fixed},
			{V(6, 12, 43), Fixed},
		},
	},
}

// templateDrops end the use after free: the first for xt_CT, the second for nft_ct.
var templateDrops = []Commit{
	{"f62a218a946b", "netfilter: xt_CT: drop pending enqueued packets on template removal"},
	{"36eae0956f65", "netfilter: nft_ct: drop pending enqueued packets on removal"},
}

// templateFixed are the stable versions that end the use after free, and begin to drop
// what waits.
func templateFixed(s Status) []Change {
	return []Change{
		{V(5, 10, 253), s}, {V(5, 15, 203), s}, {V(6, 1, 167), s}, {V(6, 6, 130), s}, {V(6, 12, 78), s}, {V(6, 18, 20), s}, {V(6, 19, 10), s},
	}
}
