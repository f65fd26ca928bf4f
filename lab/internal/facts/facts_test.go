package facts

import (
	"slices"
	"strings"
	"testing"

	"verdictd/internal/kernelfacts"
)

// A changelog in the shape of Debian's: stable updates with their commits, one that is a
// selection, and patches of the package's own.
const made = `linux (6.1.201-1) bookworm-security; urgency=high

  * New upstream stable update:
    https://www.kernel.org/pub/linux/kernel/v6.x/ChangeLog-6.1.200
    - netfilter: a fix of ours (CVE-2026-1)
    - netfilter: the second half of a pair, whose subject is so long that it
      was folded (CVE-2026-2)
` + "%FILL%" + `    https://www.kernel.org/pub/linux/kernel/v6.x/ChangeLog-6.1.201
    - netfilter: the first half of a pair

  [ A Maintainer ]
  * netfilter: a cause
    - netfilter: a cause

 -- A Maintainer <a@example.org>  Mon, 16 Nov 2026 11:17:40 +0100

linux (6.1.199-1) bookworm; urgency=medium

  * New upstream stable update:
    https://www.kernel.org/pub/linux/kernel/v6.x/ChangeLog-6.1.199
    - netfilter: a fix of ours too
`

func changelog(t *testing.T) *Changelog {
	t.Helper()
	c, err := Parse(strings.NewReader(strings.Replace(made, "%FILL%", strings.Repeat("    - something else\n", wholeFrom), 1)))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// row is one that the changelog agrees with.
func row() kernelfacts.Fact {
	return kernelfacts.Fact{
		ID:     "made",
		Fix:    []kernelfacts.Commit{{Subject: "netfilter: a fix of ours"}},
		Stable: []kernelfacts.Change{{From: kernelfacts.V(6, 1, 200), Status: kernelfacts.Fixed}},
	}
}

func TestParse(t *testing.T) {
	c := changelog(t)
	if c.Package != "linux" || c.Version != "6.1.201-1" || len(c.entries) != 3 {
		t.Errorf("%s %s, %d versions", c.Package, c.Version, len(c.entries))
	}
	folded := "netfilter: the second half of a pair, whose subject is so long that it was folded (CVE-2026-2)"
	if !slices.Contains(c.entries[kernelfacts.V(6, 1, 200)], folded) {
		t.Errorf("no folded entry in %q", c.entries[kernelfacts.V(6, 1, 200)])
	}
	if v, found := c.first(kernelfacts.V(6, 1, 0), "netfilter: a cause"); found {
		t.Errorf("a patch of the package's own was taken for one of %s", v)
	}
	for _, text := range []string{"", "no changelog", "linux (6.1-1) x; y\n\n  * A patch\n"} {
		if _, err := Parse(strings.NewReader(text)); err == nil {
			t.Errorf("%q was taken for a changelog", text)
		}
	}
}

// TestCheck: a row that is right is seen, and every way in which one can be wrong is a
// problem.
func TestCheck(t *testing.T) {
	pair := []kernelfacts.Commit{
		{Subject: "netfilter: the first half of a pair"},
		{Subject: "netfilter: the second half of a pair, whose subject is so long that it was folded"},
	}
	for _, test := range []struct {
		name   string
		change func(*kernelfacts.Fact)
		seen   int
		want   string
	}{
		{"right", func(*kernelfacts.Fact) {}, 1, ""},
		{"both halves", func(f *kernelfacts.Fact) { f.Fix, f.Stable[0].From.Patch = pair, 201 }, 1, ""},
		{"one half is not enough", func(f *kernelfacts.Fact) { f.Fix = pair }, 0, "from 6.1.200 on, and the changelog has its commits in 6.1.201"},
		{"a version too late", func(f *kernelfacts.Fact) { f.Stable[0].From.Patch = 201 }, 0, "from 6.1.201 on, and the changelog has its commits in 6.1.200"},
		{"another status", func(f *kernelfacts.Fact) { f.Stable[0].Status = kernelfacts.Affected }, 0, "makes made fixed, and the table does not"},
		{"not in the table", func(f *kernelfacts.Fact) { f.Stable = nil }, 0, "makes made fixed, and the table does not"},
		{"not in the changelog", func(f *kernelfacts.Fact) { f.Fix[0].Subject = "netfilter: nobody's" }, 0, "lacks"},
		{"of a version that is listed in part", func(f *kernelfacts.Fact) {
			f.Fix[0].Subject, f.Stable[0].From.Patch = "netfilter: nobody's", 201
		}, 0, ""},
		{"of a branch that the changelog does not tell of", func(f *kernelfacts.Fact) {
			f.Fix[0].Subject, f.Stable[0].From = "netfilter: nobody's", kernelfacts.V(6, 6, 5)
		}, 0, ""},
		{"without its subject", func(f *kernelfacts.Fact) { f.Fix[0].Subject = "" }, 0, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := row()
			test.change(&f)
			r := Check([]kernelfacts.Fact{f}, changelog(t))
			if r.Seen != test.seen || len(r.Problems) > 1 || (len(r.Problems) == 0) != (test.want == "") ||
				!strings.Contains(strings.Join(r.Problems, ""), test.want) {
				t.Errorf("%d seen, %q; want %d, %q", r.Seen, r.Problems, test.seen, test.want)
			}
		})
	}
}
