package liverules

import (
	"math"

	"verdictd/internal/vocabulary"
)

// Position is where packets wait, seen from conntrack.
type Position string

// The positions.
const (
	// BeforeLookup: the packets carry no entry yet.
	BeforeLookup Position = "before-lookup"
	// BetweenLookupAndConfirm: a new flow's packets carry an unconfirmed entry each.
	BetweenLookupAndConfirm Position = "between-lookup-and-confirm"
	// AfterConfirm: the entry is in conntrack's table.
	AfterConfirm Position = "after-confirm"
	// Outside: conntrack does not see these packets.
	Outside Position = "outside"
	// Undecided: the order in which hooks were registered decides, or settings of the bridge.
	Undecided Position = "undecided"
)

// Priorities of conntrack's and NAT's own hooks (enum nf_ip_hook_priorities),
// the same for IPv4, IPv6 and, since 5.3, bridges.
const (
	LookupPriority = -200 // PREROUTING and OUTPUT
	dnatPriority   = -100 // PREROUTING and OUTPUT
	// Last in INPUT and POSTROUTING. A base chain cannot come behind it for sure:
	// of two hooks with the same priority the one registered later is called
	// first (nf_hook_entries_grow).
	confirmPriority = math.MaxInt32
)

// position finds where a base chain stands. The reason is for people.
func position(f Family, h vocabulary.Hook, priority int) (Position, string) {
	switch {
	case h == vocabulary.HookIngress:
		return BeforeLookup, "ingress comes before conntrack's lookup"
	case h == vocabulary.HookEgress:
		return AfterConfirm, "egress comes after conntrack's confirm"
	case f == ARP:
		return Outside, "conntrack does not see ARP"
	}
	switch h {
	case vocabulary.HookPrerouting, vocabulary.HookOutput:
		switch {
		case priority < LookupPriority:
			return BeforeLookup, "priority is below -200: before conntrack's lookup"
		case priority == LookupPriority:
			return Undecided, "priority is -200, that of conntrack's lookup: which comes first depends on which was registered last"
		}
	case vocabulary.HookInput, vocabulary.HookPostrouting:
		if priority == confirmPriority {
			return Undecided, "priority is that of conntrack's confirm: which comes first depends on which was registered last"
		}
	}
	return BetweenLookupAndConfirm, "between conntrack's lookup and its confirm"
}

// paths are the ways of packets through the hooks, each ending with confirm.
// What loopback delivers was confirmed in POSTROUTING, before it came to
// PREROUTING.
var paths = [][]vocabulary.Hook{
	{vocabulary.HookPrerouting, vocabulary.HookInput},
	{vocabulary.HookPrerouting, vocabulary.HookForward, vocabulary.HookPostrouting},
	{vocabulary.HookOutput, vocabulary.HookPostrouting},
}

// entries are the hooks in which packets that come to a hook were looked up.
func entries(h vocabulary.Hook) []vocabulary.Hook {
	switch h {
	case vocabulary.HookPrerouting, vocabulary.HookInput, vocabulary.HookForward:
		return []vocabulary.Hook{vocabulary.HookPrerouting}
	case vocabulary.HookOutput:
		return []vocabulary.Hook{vocabulary.HookOutput}
	case vocabulary.HookPostrouting:
		return []vocabulary.Hook{vocabulary.HookPrerouting, vocabulary.HookOutput}
	}
	return nil
}
