package kernelfacts_test

import (
	"strings"
	"testing"

	"verdictd/internal/kernelfacts"
)

func TestCounterInWords(t *testing.T) {
	for _, tc := range []struct{ release, counter, want string }{
		{"4.4.0", "found", "lookups that found an entry"},
		{"4.9.0", "found", "lookups for a free tuple"},
		{"6.18.1", "insert", "by user space"},
		{"4.8.0", "insert", "entries put into the table"},
		{"3.10.0-1127.el7.x86_64", "insert", "as since 4.9"},
		{"5.9.16", "insert_failed", "clashes that were resolved, clashes whose packet was dropped"},
		{"5.10.0", "insert_failed", "clashes whose packet was dropped"},
		{"6.18.1", "insert_failed", "hash chains that were too long"},
		{"6.11.0", "clash_resolve", "in no counter"},
		{"6.18.1", "clash_resolve", "with the entry that was there first, or with its own, inserted for replies alone"},
		{"5.9.16", "insert_failed", "entries that user space could not insert"},
		{"5.10.0", "insert_failed", "entries that died before they were inserted"},
		{"5.14.0-427.el9.x86_64", "insert_failed", "died"},
		{"5.9.16", "error", "broken ICMP errors among them"},
		{"6.18.1", "error", "ICMP and ICMPv6 errors"},
		{"5.9.16", "invalid", "broken ICMP errors among them"},
		{"6.18.1", "drop", "by a protocol's tracker"},
		{"6.18.1", "chain_toolong", "those of user space too"},
	} {
		if got := kernelfacts.CounterInWords(identify(t, tc.release), tc.counter); !strings.Contains(got, tc.want) {
			t.Errorf("%s: %s counts %q, want %q in it", tc.release, tc.counter, got, tc.want)
		}
	}
	if got := kernelfacts.CounterInWords(identify(t, "6.18.1"), "clash_resolve"); strings.Contains(got, "no counter") {
		t.Errorf("since 6.12 nothing is hidden, but clash_resolve counts %q", got)
	}
	if got := kernelfacts.CounterInWords(identify(t, "6.18.1"), "nonsense"); got != "" {
		t.Errorf("an unknown counter counts %q", got)
	}
}
