package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"verdictd/internal/kernelfacts"
	"verdictd/internal/vocabulary"
)

// keys that scripts rely on; docs/audit.md explains each.
var keys = []string{
	"advice", "answer", "architecture", "bridging", "dnat_before_queue", "events", "facts", "host", "kmod_race", "probe", "queues", "rules",
	"schema", "sequences", "unread", "verdict", "version", "why",
}

func reportOf(t *testing.T) *Report {
	t.Helper()
	m := made(t, crashing).with(dnat, exposed(vocabulary.HookForward), exposed(vocabulary.HookPostrouting), unreadRules, openUserNamespaces)
	r := NewReport("1.2.3", m)
	zero := uint64(0)
	p := &Probe{Flows: 200, PacketsPerFlow: 4, Sent: 800, Delivered: 800, InsertFailed: &zero}
	p.conclude()
	r.Probe = &ProbeReport{Probe: p}
	return r
}

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	if err := reportOf(t).WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	follows(t, b.Bytes())
	var got map[string]json.RawMessage
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, keys) {
		t.Errorf("keys %v, want %v", names, keys)
	}
	var values struct {
		Verdict Verdict
		Host    struct{ Kernel struct{ Release string } }
		Facts   []struct{ ID, Status, Reason string }
		Probe   struct {
			ClashResolve *uint64 `json:"clash_resolve"`
			InsertFailed *uint64 `json:"insert_failed"`
		}
	}
	if err := json.Unmarshal(b.Bytes(), &values); err != nil {
		t.Fatal(err)
	}
	if values.Verdict != ExposedCrash || values.Host.Kernel.Release != crashing || len(values.Facts) != len(kernelfacts.Facts()) {
		t.Errorf("%+v", values)
	}
	if values.Probe.ClashResolve != nil || values.Probe.InsertFailed == nil {
		t.Errorf("probe %+v: a counter that the kernel lacks is null, one that did not rise is 0", values.Probe)
	}
	text, err := os.ReadFile("../../../docs/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if !strings.Contains(string(text), "`"+k+"`") {
			t.Errorf("docs/audit.md does not explain `%s`", k)
		}
	}
}

// The table for readers has the rows of the one that decides.
func TestDocumentHasTheTable(t *testing.T) {
	text, err := os.ReadFile("../../../docs/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for line := range strings.Lines(string(text)) {
		if strings.Index(line, "| `exposed-") > 0 && strings.HasSuffix(line, "` |\n") {
			rows = append(rows, strings.TrimSpace(line))
		}
	}
	if len(rows) != len(table) {
		t.Errorf("%d rows, want %d", len(rows), len(table))
	}
	for _, r := range table {
		fact := "every kernel"
		if r.fact != "" {
			fact = "`" + r.fact + "`"
		}
		if want := "| " + fact + " | " + r.when.name + " | `" + string(r.outcome.verdict()) + "` |"; !slices.Contains(rows, want) {
			t.Errorf("docs/audit.md lacks %s", want)
		}
	}
}

func TestTextBeginsWithTheAnswer(t *testing.T) {
	r := reportOf(t)
	var b bytes.Buffer
	if err := r.WriteText(&b, true); err != nil {
		t.Fatal(err)
	}
	at := -1
	for _, part := range []string{
		wrapped("", "", r.Sentence) + "Probe: unseen: ", "\nWhy\n", "\nWhat to do, the cheapest first\n  1. ", "\nMachine\n", "\nQueue rules\n",
		"\nQueues bound now\n", "\nProbe\n", "\nWhat is known of this kernel\n",
	} {
		next := strings.Index(b.String(), part)
		if next <= at {
			t.Errorf("%q is missing, or too early: %s", part, b.String())
		}
		at = next
	}
}

// TestTextIsNarrow: lines fit 100 columns unless a single word does not, and what is
// fixed here shows on demand only.
func TestTextIsNarrow(t *testing.T) {
	r := reportOf(t)
	r.Host.Distribution.Err = errors.New("a line\nand another one\n" + strings.Repeat("word ", 40))
	texts := map[bool]string{}
	for _, all := range []bool{false, true} {
		var b bytes.Buffer
		if err := r.WriteText(&b, all); err != nil {
			t.Fatal(err)
		}
		texts[all] = b.String()
		for line := range strings.Lines(b.String()) {
			if len(line) > columns+1 && strings.Contains(strings.TrimSpace(line), " ") {
				t.Errorf("%d columns: %s", len(line)-1, line)
			}
		}
	}
	for _, f := range r.Facts {
		for all, text := range texts {
			shown := all || f.Status == kernelfacts.Affected || f.Status == kernelfacts.Unknown
			_, list, _ := strings.Cut(text, "What is known of this kernel")
			if strings.Contains(list, " "+f.ID+" ") != shown {
				t.Errorf("%s, which is %s, with all %v: shown %v", f.ID, f.Status, all, !shown)
			}
		}
	}
}

func TestProbeOutcome(t *testing.T) {
	n := func(n uint64) *uint64 { return &n }
	for _, test := range []struct {
		probe Probe
		want  Outcome
		says  string
	}{
		{Probe{Sent: 800, Delivered: 800, ClashResolve: n(600), InsertFailed: n(0)}, Resolved, "600 clashes"},
		{Probe{Sent: 800, Delivered: 800, InsertFailed: n(500)}, Resolved, "500 clashes"},
		{Probe{Sent: 800, Delivered: 200, InsertFailed: n(600), Drop: n(600)}, Dropped, "600 did not arrive"},
		{Probe{Sent: 800, Delivered: 800, ClashResolve: n(0), InsertFailed: n(0)}, Unseen, "no counter"},
		{Probe{Sent: 800, Delivered: 790, UserDropped: 10, ClashResolve: n(500)}, Inconclusive, "lost 10 packets"},
		{Probe{Sent: 800, Delivered: 800, ClashResolve: n(600), TaintAfter: 512}, Damaged, "from 0 to 512"},
	} {
		p := test.probe
		p.conclude()
		if p.Outcome != test.want || !strings.Contains(p.Meaning, test.says) {
			t.Errorf("%+v: %s: %s; want %s with %q", test.probe, p.Outcome, p.Meaning, test.want, test.says)
		}
	}
}
