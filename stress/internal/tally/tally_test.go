package tally

import (
	"errors"
	"strings"
	"testing"

	"verdictd/internal/kernelfacts"
)

func TestClashesAreDescribed(t *testing.T) {
	for release, want := range map[string]string{
		"4.9.337": "clashes that were resolved",
		"6.1.192": "in no counter",
		"6.18.1":  "clash_resolve (resolved)",
	} {
		b, err := kernelfacts.Identify(kernelfacts.Names{Release: release})
		if err != nil {
			t.Fatal(err)
		}
		if got := describeClashes(kernelfacts.CountersOf(b)); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", release, got, want)
		}
	}
}

// Where conntrack cannot be read the result says so, and nobody waits for clashes.
func TestUnreadableCounters(t *testing.T) {
	unread := &Tally{err: errors.New("no such module")}
	if !unread.Reached(1) {
		t.Error("it would go on for ever")
	}
	c, err := unread.End(10)
	if err != nil || c.Clashes != nil || c.ConntrackUnread != "no such module" {
		t.Errorf("%+v, %v", c, err)
	}
}
