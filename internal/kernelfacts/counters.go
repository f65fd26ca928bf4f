package kernelfacts

import "strings"

// Resolution is what a kernel does with the loser of a clash.
type Resolution string

// The resolutions, oldest first.
const (
	ResolutionNone     Resolution = "dropped"                // before 4.7
	ResolutionAdopts   Resolution = "adopted"                // the packet takes the winner's entry over
	ResolutionReinject Resolution = "adopted-at-reinjection" // and already before the packet is put back: 4.18 to 6.11
	ResolutionUnknown  Resolution = "unknown"                // the names do not tell
)

// ClashResolution says what the kernel does with a clash of queued packets.
func ClashResolution(b Build) (Resolution, string) {
	none, why := mustFact(FactNoResolution).AppliesTo(b)
	switch none {
	case Affected:
		return ResolutionNone, why
	case Unknown:
		return ResolutionUnknown, why
	}
	switch status, why := mustFact(FactReinjection).AppliesTo(b); status {
	case Affected:
		return ResolutionReinject, why
	case Unknown:
		return ResolutionUnknown, why
	default:
		return ResolutionAdopts, why
	}
}

func mustFact(id string) *Fact {
	f, ok := FactByID(id)
	if !ok {
		panic("no fact " + id)
	}
	return &f
}

// Presence says whether a kernel has something.
type Presence string

// The presences.
const (
	Present         Presence = "present"
	Missing         Presence = "missing"
	PresenceUnknown Presence = "unknown"
)

// CounterMeaning says which of conntrack's per-CPU counters a clash raises. The
// counters are named as in package ct. A nil list is not known, which differs
// from an empty one.
type CounterMeaning struct {
	// ClashResolve is the presence of clash_resolve (CTA_STATS_CLASH_RESOLVE, and
	// the column clashres where searched was): whether a resolved clash can be
	// told from a failure.
	ClashResolve Presence `json:"clash_resolve"`
	// ChainTooLong is the presence of chain_toolong.
	ChainTooLong Presence `json:"chain_toolong"`
	Resolved     []string `json:"resolved"`       // raised by a resolved clash
	Unresolved   []string `json:"unresolved"`     // raised by one whose packet is dropped
	TooLong      []string `json:"chain_too_long"` // raised where a hash chain is too long
	// Reinjection is the status of [FactReinjection]: where affected, no counter
	// sees the clashes of queued packets.
	Reinjection Status `json:"reinjection"`
}

// Since when there are the counters.
var (
	clashResolveSince = V(5, 10, 0) // bc92470413f3
	chainTooLongSince = V(5, 15, 0) // d7e7747ac5c2
	resolverSince     = V(4, 7, 0)  // 71d8c47fc653; what the counters meant before is not known
)

// CountersOf says what the counters mean on a kernel.
func CountersOf(b Build) CounterMeaning {
	m := CounterMeaning{ClashResolve: b.has(clashResolveSince), ChainTooLong: b.has(chainTooLongSince)}
	m.Reinjection, _ = mustFact(FactReinjection).AppliesTo(b)
	resolves := b.has(resolverSince)
	if b.rpm.dist == "el7" && b.Version == V(3, 10, 0) && b.rpm.within([]int{1160}, nil) {
		// RHEL 7.9 counts as 4.7 to 5.9 do.
		resolves, m.ClashResolve, m.ChainTooLong = Present, Missing, Missing
	}
	if resolves == Present {
		m.Unresolved = []string{"insert_failed", "drop"}
		switch m.ClashResolve {
		case Present:
			m.Resolved = []string{"clash_resolve"}
		case Missing:
			m.Resolved = []string{"insert_failed"}
		}
	}
	switch m.ChainTooLong {
	case Present:
		m.TooLong = []string{"chain_toolong", "insert_failed"}
	case Missing:
		m.TooLong = []string{}
	}
	return m
}

// has says whether the kernel has what came with a mainline release. Others than
// exact kernels may have it from elsewhere.
func (b Build) has(since Version) Presence {
	switch {
	case b.Version == (Version{}), b.Candidate && b.Version.branch() == since:
		return PresenceUnknown
	case b.Version.Compare(since) >= 0:
		return Present
	case b.Exact:
		return Missing
	}
	return PresenceUnknown
}

// InsertFailed says what insert_failed counts.
func (m CounterMeaning) InsertFailed() string {
	if m.Unresolved == nil {
		return "entries that could not be inserted; what clashes do to it on this kernel is not known"
	}
	parts := []string{"clashes whose packet was dropped"}
	const dying, users = "entries that died before they were inserted", "entries that user space could not insert"
	switch m.ClashResolve { // which came with 5.10, as the other changes did
	case Present:
		parts = append(parts, dying)
	case Missing:
		parts = append([]string{"clashes that were resolved"}, parts...)
		parts = append(parts, users)
	case PresenceUnknown:
		parts = append(parts, "perhaps clashes that were resolved", "perhaps "+dying, "perhaps "+users)
	}
	if m.ChainTooLong == Present {
		parts = append(parts, "hash chains that were too long")
	}
	return strings.Join(parts, ", ")
}

// Hidden says whether clashes of queued packets escape the counters.
func (m CounterMeaning) Hidden() string {
	switch m.Reinjection {
	case Affected:
		return "clashes of queued packets are resolved or dropped at re-injection, in no counter"
	case Unknown:
		return "whether clashes of queued packets are counted is not known"
	}
	return ""
}

// EventsSetting says what a value of net.netfilter.nf_conntrack_events means.
func EventsSetting(value uint64) string {
	switch value {
	case 0:
		return "off: no entry delivers events"
	case 1:
		return "on: every entry delivers events"
	case 2:
		return "auto: entries deliver events while somebody on the machine listens" // 5.19 and later
	}
	return "not a known value"
}
