package facts

import (
	"fmt"
	"slices"

	"verdictd/internal/kernelfacts"
)

// Result is what a changelog says of the table.
type Result struct {
	Changelog string `json:"changelog"` // package and version
	Versions  int    `json:"versions"`  // stable versions that it tells of
	// Seen are changes of the table that are where it says.
	Seen int `json:"seen"`
	// Problems are those that are not, and commits that the table does not know of.
	Problems []string `json:"problems"`
}

// Check holds a table against a changelog.
func Check(table []kernelfacts.Fact, c *Changelog) Result {
	r := Result{Changelog: c.Package + " " + c.Version, Versions: len(c.entries), Problems: []string{}}
	var branches []kernelfacts.Version
	for v := range c.entries {
		if b := kernelfacts.V(v.Major, v.Minor, 0); !slices.Contains(branches, b) {
			branches = append(branches, b)
		}
	}
	slices.SortFunc(branches, kernelfacts.Version.Compare)
	for i := range table {
		f := &table[i]
		for _, b := range branches {
			r.change(c, f, b, f.Cause, kernelfacts.Affected)
			r.change(c, f, b, f.Fix, kernelfacts.Fixed)
		}
	}
	return r
}

// wholeFrom entries at least are all of a stable version's changes. Where Debian was in
// a hurry it lists some of them only.
const wholeFrom = 40

// change looks for the commits that together bring a fact, or end it, in a branch.
func (r *Result) change(c *Changelog, f *kernelfacts.Fact, branch kernelfacts.Version, commits []kernelfacts.Commit, s kernelfacts.Status) {
	said, known := said(f, branch, s)
	found, all := c.all(branch, commits)
	whole := len(c.entries[said]) >= wholeFrom
	switch {
	case len(commits) == 0 || !named(commits):
	case known && all && said == found:
		r.Seen++
	case known && all:
		r.say("%s is said to be %s from %s on, and the changelog has its commits in %s", f.ID, s, said, found)
	case known && whole:
		r.say("%s is said to be %s from %s on, and that version's changelog lacks %q", f.ID, s, said, commits[0].Subject)
	case all:
		r.say("the changelog of %s has what makes %s %s, and the table does not", found, f.ID, s)
	}
}

func (r *Result) say(format string, args ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

// named reports whether all commits have their subjects.
func named(commits []kernelfacts.Commit) bool {
	return !slices.ContainsFunc(commits, func(c kernelfacts.Commit) bool { return c.Subject == "" })
}

// said is where the table has the status begin within a branch.
func said(f *kernelfacts.Fact, branch kernelfacts.Version, s kernelfacts.Status) (kernelfacts.Version, bool) {
	for _, change := range f.Stable {
		if change.Status == s && change.From.Major == branch.Major && change.From.Minor == branch.Minor {
			return change.From, true
		}
	}
	return kernelfacts.Version{}, false
}

// all is the version of a branch that has the last of the commits.
func (c *Changelog) all(branch kernelfacts.Version, commits []kernelfacts.Commit) (last kernelfacts.Version, found bool) {
	for _, commit := range commits {
		v, ok := c.first(branch, commit.Subject)
		if !ok {
			return last, false
		}
		if v.Compare(last) > 0 {
			last = v
		}
	}
	return last, len(commits) > 0
}
