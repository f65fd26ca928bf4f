package tally

import (
	"errors"
	"strings"
	"testing"

	"verdictd/internal/kernelfacts"
	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// TestUntracked: where nothing can clash the result says so, and what to do about it.
func TestUntracked(t *testing.T) {
	testkit.Require(t)
	ns, err := netlab.NewNetNS()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ns.Close() })
	untracked := func() string {
		t.Helper()
		c, err := Open([]string{ns.Path()}).End(0)
		if err != nil || c.ConntrackUnread != "" {
			t.Fatalf("%v, %s", err, c.ConntrackUnread)
		}
		return c.Untracked
	}
	if why := untracked(); !strings.Contains(why, "--topology loopback") {
		t.Errorf("no rule needs conntrack, and the result says %q of it", why)
	}
	if err := ns.ActivateConntrack(); err != nil {
		t.Fatal(err)
	}
	if why := untracked(); why != "" {
		t.Errorf("conntrack is active, and the result says %q", why)
	}
}

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

// Where conntrack cannot be read the result says so.
func TestUnreadableCounters(t *testing.T) {
	unread := &Tally{err: errors.New("no such module")}
	unread.Read()
	if unread.Err() == nil || unread.Clashes() != 0 {
		t.Errorf("%v, %d clashes", unread.Err(), unread.Clashes())
	}
	c, err := unread.End(10)
	if err != nil || c.Clashes != nil || c.ConntrackUnread != "no such module" {
		t.Errorf("%+v, %v", c, err)
	}
}
