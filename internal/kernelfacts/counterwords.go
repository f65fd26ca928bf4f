package kernelfacts

// hotPathSince took the counting out of every packet's way: found and insert were left to rarer places, and searched,
// new, delete and delete_list were no longer sent (8e8118f89313).
var hotPathSince = V(4, 9, 0)

// CounterInWords says what one of conntrack's per-CPU counters counts on a kernel. The counters are named as in package
// ct; of a name that is not known the answer is empty.
func CounterInWords(b Build, counter string) string {
	m := CountersOf(b)
	switch counter {
	case "searched":
		return "lookups in the table"
	case "found":
		return b.byHotPath("lookups that found an entry", "lookups for a free tuple, as NAT makes them, that met one in use")
	case "new":
		return "entries made that had not been expected"
	case "invalid":
		return b.bySince(errorsOnly, "packets that could not be tracked; broken ICMP errors among them", "packets that could not be tracked")
	case "ignore": // not sent since 5.10
		return "packets that were tracked already, or are not to be"
	case "delete", "delete_list":
		return "entries taken out of the table"
	case "insert":
		return b.byHotPath("entries put into the table", "entries put into the table by user space (conntrack -I, conntrackd)")
	case "insert_failed":
		return m.InsertFailed()
	case "drop":
		return "packets dropped for want of an entry (table full, no memory, a clash that was not resolved), by a protocol's tracker, " +
			"or as their sequence numbers could not be adjusted"
	case "early_drop":
		return "entries evicted from a full table to make room"
	case "error":
		return b.bySince(errorsOnly, "packets refused by a protocol's tracker, broken ICMP errors among them",
			"ICMP and ICMPv6 errors that could not be tracked")
	case "search_restart":
		return "lookups begun again, as an entry moved meanwhile"
	case "clash_resolve":
		return m.clashResolve()
	case "chain_toolong":
		return "entries not inserted, as their hash chain was too long; those of user space too, which raise no other counter"
	}
	return ""
}

// errorsOnly left ICMP's errors to the counter error alone.
var errorsOnly = V(5, 10, 0)

// byHotPath chooses between what was counted before 4.9 and since.
func (b Build) byHotPath(before, since string) string { return b.bySince(hotPathSince, before, since) }

// bySince chooses between what was counted before a release and since.
func (b Build) bySince(release Version, before, since string) string {
	switch b.has(release) {
	case Present:
		return since
	case Missing:
		return before
	}
	return before + "; or, as since " + release.String() + ", " + since
}

// clashResolve is for kernels that send the counter, which the caller sees best.
func (m CounterMeaning) clashResolve() string {
	// The second kind came with 5.6 (nf_ct_resolve_clash_harder), and the counter with 5.10.
	words := "clashes that were resolved: the packet lives on with the entry that was there first, or with its own, inserted for replies alone"
	if hidden := m.Hidden(); hidden != "" {
		words += "; " + hidden
	}
	return words
}
