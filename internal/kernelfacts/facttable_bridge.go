package kernelfacts

// bridgeFacts are faults of packets that a bridge hands on.
var bridgeFacts = []Fact{
	{
		ID:       "bridge-verdict-leak",
		Effect:   "a queued packet of a bridge is never freed",
		Trigger:  "a verdict with NFQA_VLAN that lacks TCI or PROTO",
		CVEs:     []string{"CVE-2026-43451"},
		Cause:    []Commit{{Hash: "f1ba83755d81"}},
		Fix:      []Commit{{Subject: "netfilter: nfnetlink_queue: fix entry leak in bridge verdict error path"}},
		Mainline: []Change{{V(0, 0, 0), NotAffected}, {V(4, 7, 0), Affected}, {V(7, 0, 0), Fixed}},
		Stable: []Change{
			{V(5, 10, 253), Fixed}, {V(5, 15, 203), Fixed}, {V(6, 1, 167), Fixed}, {V(6, 6, 130), Fixed}, {V(6, 12, 78), Fixed},
			{V(6, 18, 19), Fixed}, {V(6, 19, 9), Fixed},
		},
	},
	{
		ID:       "bridge-device-freed",
		Effect:   "a queued packet of a bridge uses a device that is freed: the machine may crash",
		Trigger:  "a bridge's device goes while packets wait",
		CVEs:     []string{"CVE-2026-52912"},
		Fix:      []Commit{{"e196115ec330", "netfilter: nf_queue: hold bridge skb->dev while queued"}},
		Mainline: []Change{{V(0, 0, 0), NotAffected}, {V(4, 7, 0), Affected}, {V(7, 1, 0), Fixed}},
		Stable: []Change{
			{V(5, 10, 259), Fixed}, {V(5, 15, 209), Fixed}, {V(6, 1, 175), Fixed}, {V(6, 6, 142), Fixed}, {V(6, 12, 92), Fixed},
			{V(6, 18, 34), Fixed}, {V(7, 0, 11), Fixed},
		},
		rebuilds: []rebuild{
			{dist: "el8", base: V(4, 18, 0), from: []int{553, 168, 1}, streams: true, status: Fixed, reason: "fixed in 4.18.0-553.168.1.el8"},
			{dist: "el8", base: V(4, 18, 0), before: []int{553, 168, 1}, status: Affected, reason: "older than 4.18.0-553.168.1.el8, which has the fix"},
			{dist: "el9", base: V(5, 14, 0), from: []int{687, 52, 1}, streams: true, status: Fixed, reason: "fixed in 5.14.0-687.52.1.el9"},
			{dist: "el9", base: V(5, 14, 0), before: []int{687, 52, 1}, status: Affected, reason: "older than 5.14.0-687.52.1.el9, which has the fix"},
		},
	},
	{
		ID:       "bridge-fake-destination",
		Effect:   "a queued packet of a bridge uses the freed destination of its bridge: the machine may crash",
		Trigger:  "a bridge goes while packets wait",
		CVEs:     []string{"CVE-2026-72255"},
		Fix:      []Commit{{"c9c9b37f8c55", "netfilter: nf_queue: pin bridge device while NFQUEUE holds fake dst"}},
		Mainline: []Change{{V(0, 0, 0), NotAffected}, {V(3, 18, 0), Affected}, {V(7, 2, 0), Fixed}},
		Stable: []Change{
			{V(6, 1, 178), Fixed}, {V(6, 6, 145), Fixed}, {V(6, 12, 97), Fixed}, {V(6, 18, 40), Fixed}, {V(7, 1, 5), Fixed},
		},
	},
	{
		ID:       "bridge-port-left",
		Effect:   "a verdict on a packet whose device has left its bridge makes the kernel panic",
		Trigger:  "a device leaves its bridge while packets wait",
		CVEs:     []string{"CVE-2026-53220"},
		Fix:      []Commit{{"ccb9fd4b8753", "netfilter: revalidate bridge ports"}},
		Mainline: []Change{{V(0, 0, 0), Affected}, {V(7, 1, 0), Fixed}},
		Stable:   []Change{{V(6, 1, 191), Fixed}, {V(6, 12, 94), Fixed}, {V(6, 18, 36), Fixed}, {V(7, 0, 13), Fixed}},
	},
	{
		ID:         "bridge-without-destination",
		Effect:     "forwarded packets of a bridge are dropped instead of queued",
		Trigger:    "a queue rule for packets that a bridge forwards",
		Fix:        []Commit{{"0b9173f4688d", "netfilter: nf_queue: enqueue skbs with NULL dst"}},
		Mainline:   []Change{{V(0, 0, 0), NotAffected}, {V(5, 3, 0), Affected}, {V(5, 5, 0), Fixed}},
		Stable:     []Change{{V(4, 19, 62), Affected}, {V(5, 2, 4), Affected}, {V(5, 4, 9), Fixed}},
		Confidence: Medium,
	},
	{
		ID:       "bridge-clones-confirmed",
		Effect:   "the clones of a bridged packet are confirmed at the same time: the entry may be damaged",
		Trigger:  "a multicast or broadcast packet that a bridge clones",
		CVEs:     []string{"CVE-2024-27415"},
		Fix:      []Commit{{"62e7151ae3eb", "netfilter: bridge: confirm multicast packets before passing them up the stack"}},
		Mainline: []Change{{V(0, 0, 0), Affected}, {V(6, 8, 0), Fixed}},
		Stable:   []Change{{V(5, 15, 151), Fixed}, {V(6, 1, 81), Fixed}, {V(6, 6, 21), Fixed}, {V(6, 7, 9), Fixed}},
	},
	{
		ID:       "bridge-clones-warned",
		Effect:   "the kernel warns of a clash of a bridged packet; with panic_on_warn it panics",
		Trigger:  "a clash of a packet that a bridge clones",
		CVEs:     []string{"CVE-2025-39894"},
		Cause:    []Commit{{"62e7151ae3eb", "netfilter: bridge: confirm multicast packets before passing them up the stack"}},
		Fix:      []Commit{{"479a54ab9208", "netfilter: br_netfilter: do not check confirmed bit in br_nf_local_in() after confirm"}},
		Mainline: []Change{{V(0, 0, 0), NotAffected}, {V(6, 8, 0), Affected}, {V(6, 17, 0), Fixed}},
		Stable: []Change{
			{V(5, 15, 151), Affected}, {V(5, 15, 192), Fixed}, {V(6, 1, 81), Affected}, {V(6, 1, 151), Fixed}, {V(6, 6, 21), Affected},
			{V(6, 6, 105), Fixed}, {V(6, 7, 9), Affected}, {V(6, 12, 46), Fixed}, {V(6, 16, 6), Fixed},
		},
	},
}
