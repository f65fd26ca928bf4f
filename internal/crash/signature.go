package crash

import (
	"regexp"
	"slices"
	"strings"
)

// Signature is a report that is known.
type Signature struct {
	ID    string
	About string

	kinds []string // any of them
	at    []string // the function at fault is one of them; empty: any
	trace []string // all of them are in the trace of the one who was caught
	freed []string // one of them is in the trace of who freed the memory; empty: any
}

// Signatures is the table. The first that fits counts, so the narrow ones come first. Versions and commits are those
// of the facts of package kernel.
var Signatures = []Signature{
	{
		ID: "nf_conntrack_confirm",
		About: "CVE-2022-49561: nf_conntrack_confirm delivers events from the entry that lost a clash and was freed. Fixed by 56b14ecec97f " +
			"(5.19; stable 4.14.282, 4.19.246, 5.4.197, 5.10.120, 5.15.45, 5.17.13, 5.18.2)",
		kinds: []string{KindKASAN},
		// The function is inline: its users have its place in the trace where a compiler puts it there.
		at: []string{"nf_conntrack_confirm", "nf_confirm", "ipv4_confirm", "ipv6_confirm",
			"nf_conntrack_eventmask_report"},
		freed: []string{"nf_ct_resolve_clash", "__nf_ct_resolve_clash", "nf_conntrack_free", "nf_conntrack_destroy",
			"nf_ct_destroy"},
	},
	{
		ID: "nf_ct_deliver_cached_events",
		About: "CVE-2022-49561: nf_ct_deliver_cached_events runs on the entry that lost a clash and was freed or is in use again. Fixed by " +
			"56b14ecec97f (5.19; stable 4.14.282, 4.19.246, 5.4.197, 5.10.120, 5.15.45, 5.17.13, 5.18.2); RHEL 7.9 as released has the fault",
		kinds: []string{KindKASAN, KindOops},
		at:    []string{"nf_ct_deliver_cached_events"},
	},
	{
		ID: "nfqnl_recv_verdict",
		About: "CVE-2026-43084: a verdict finds a freed packet in the table that all queues share (e19079adcd26). Affected 6.12.75 to 6.12.82, " +
			"6.18.14 to 6.18.23, 6.19.4 to 6.19.13; fixed by 936206e3f6ff",
		kinds: []string{KindKASAN, KindOops},
		at:    []string{"nfqnl_recv_verdict", "find_dequeue_entry", "__find_entry", "nfqnl_lookup_entry"},
	},
	{
		ID: "nf_ct_gc_expired",
		About: "CVE-2025-38472: an entry was marked confirmed before it was inserted, and is taken out of a list that it is not in. Affected from " +
			"5.19; fixed by 2d72afb34065 (6.16; stable 6.1.147, 6.6.100, 6.12.40, 6.15.8)",
		kinds: []string{KindKASAN, KindOops, KindWarning, KindBug},
		at: []string{"__nf_ct_delete_from_lists", "nf_ct_delete_from_lists", "nf_ct_delete", "clean_from_lists",
			"nf_ct_gc_expired"},
		trace: []string{"nf_ct_gc_expired"},
	},
	{
		ID: "gc_worker",
		About: "CVE-2025-38472: an entry was marked confirmed before it was inserted, and the garbage collection takes it out of a list that it is " +
			"not in. Affected from 5.19; fixed by 2d72afb34065 (6.16; stable 6.1.147, 6.6.100, 6.12.40, 6.15.8)",
		kinds: []string{KindKASAN, KindOops, KindWarning, KindBug},
		at: []string{"__nf_ct_delete_from_lists", "nf_ct_delete_from_lists", "nf_ct_delete", "clean_from_lists",
			"gc_worker"},
		trace: []string{"gc_worker"},
	},
	{
		ID: "lock_rename",
		About: "a rename waits for the lock of a directory that it holds already: a directory inode with two names, as those below /proc/PID/net " +
			"had before 51f0885e5415 (3.9)",
		kinds: []string{KindHungTask, KindWarning, KindLockup, KindBug},
		trace: []string{"lock_rename"},
	},
}

// frames are the functions of a report's traces.
type frames struct {
	at    string   // the function at fault, "" if the report names none
	trace []string // of the one who was caught
	freed []string // of who freed the memory
}

var (
	// A line that names the function at fault.
	fault = regexp.MustCompile(`^(?:BUG: KASAN: .* in |BUG: KFENCE: .* in |R?E?IP: (?:[0-9a-f]{4}:)?|pc : |PC is at |epc : |WARNING: .*? )` +
		`(?:\[<[0-9a-f]+>\] *){0,2}` + symbol.String())
	freedBy = regexp.MustCompile(`^(Freed by task|Freed in )`)
	others  = regexp.MustCompile(`^(Allocated by task|Allocated in |Last potentially related work|Second to last|The buggy address|Memory state)`)
	// Traces come from checkers through these.
	helper = regexp.MustCompile(`^(_*kasan_|_*asan_|print_|dump_stack|__dump_stack|refcount_|report_bug|__warn|warn_|check_memory_region|mem(cpy|set|move)$)`)
)

// function is a symbol's name without what compilers append (.isra.0, .constprop.0, .cold).
func function(name string) string {
	name, _, _ = strings.Cut(name, ".")
	return name
}

// framesOf reads a report's traces. Entries with `?` are left out: the kernel found them on the stack, but did not go
// through them.
func framesOf(lines []string) frames {
	var f frames
	section := &f.trace
	for _, line := range lines {
		switch {
		case freedBy.MatchString(line):
			section = &f.freed
		case others.MatchString(line):
			section = nil
		case f.at == "" && fault.MatchString(line):
			f.at = function(fault.FindStringSubmatch(line)[1])
			if section == &f.trace {
				f.trace = append(f.trace, f.at)
			}
			continue
		}
		if section == nil || strings.Contains(line, "? ") {
			continue
		}
		for _, m := range symbol.FindAllStringSubmatch(line, -1) {
			*section = append(*section, function(m[1]))
		}
	}
	if f.at == "" || helper.MatchString(f.at) {
		f.at = ""
		for _, name := range f.trace {
			if !helper.MatchString(name) {
				f.at = name
				break
			}
		}
	}
	return f
}

// classify looks a report up; nil is unknown.
func classify(r *Report) *Signature {
	f := framesOf(r.Lines)
	for i := range Signatures {
		if s := &Signatures[i]; s.fits(r, &f) {
			return s
		}
	}
	return nil
}

func (s *Signature) fits(r *Report, f *frames) bool {
	anyOf := func(want, have []string) bool {
		return len(want) == 0 || slices.ContainsFunc(want, func(name string) bool { return slices.Contains(have, name) })
	}
	for _, name := range s.trace {
		if !slices.Contains(f.trace, name) {
			return false
		}
	}
	return slices.Contains(s.kinds, r.Kind) && anyOf(s.at, []string{f.at}) && anyOf(s.freed, f.freed)
}
