package kernelfacts

import (
	"fmt"
	"slices"
	"strings"
)

// Status is how a fact applies to a kernel.
type Status string

// The statuses. What is not certain is unknown.
const (
	Affected    Status = "affected"
	Fixed       Status = "fixed"
	NotAffected Status = "not-affected" // the kernel never had it
	Unknown     Status = "unknown"
)

// Commit names a change of the kernel's source.
type Commit struct {
	Hash string `json:"hash,omitempty"`
	// Subject is the change's first line or a part of it, by which distributors'
	// changelogs name it.
	Subject string `json:"subject,omitempty"`
}

// Confidence is how sure a row is. What is not is told with its doubt.
type Confidence string

// The confidences. Low ones are not in the table.
const (
	High   Confidence = "high"
	Medium Confidence = "medium"
)

// Fact is a fault or a limit in how kernels treat packets that are queued before
// their conntrack entry is confirmed.
type Fact struct {
	ID      string   `json:"id"`
	Effect  string   `json:"effect"`
	Trigger string   `json:"trigger"`
	CVEs    []string `json:"cves,omitempty"`
	Cause   []Commit `json:"cause,omitempty"` // brought it
	Fix     []Commit `json:"fix,omitempty"`   // ended it: all of them together

	// Confidence that the row is right; empty: high.
	Confidence Confidence `json:"confidence,omitempty"`
	// Advisories are distributors' besides.
	Advisories []string `json:"advisories,omitempty"`

	// Mainline is the state of mainline releases, each from a release on; the
	// first counts from the beginning. Stable has the changes within stable
	// branches, each from a version to the end of its branch.
	Mainline []Change `json:"-"`
	Stable   []Change `json:"-"`
	// Unlisted is set where stable branches that Stable does not name may have
	// been changed too: those older than this release are unknown.
	Unlisted Version `json:"-"`
	// Remarks say more of affected kernels; the last that applies counts.
	Remarks []Remark `json:"-"`

	rebuilds []rebuild // what is known of RHEL's builds
}

// Change is a status from a version on.
type Change struct {
	From   Version
	Status Status
}

// Remark is a sentence on kernels from a version on.
type Remark struct {
	From Version
	Text string
}

// rebuild is what is known of builds of a distributor's package. The first that fits
// counts.
type rebuild struct {
	dist         string // el8, amzn2
	base         Version
	from, before []int // builds, as in 3.10.0-1160.66.1; an empty bound is open
	streams      bool  // holds for the update streams of minor releases (el8_6) too
	status       Status
	reason       string
	confidence   Confidence // empty: high
}

// Facts returns the table, in the order of its rows.
func Facts() []Fact { return slices.Clone(facts) }

// FactByID returns the fact of that name.
func FactByID(id string) (Fact, bool) {
	i := slices.IndexFunc(facts, func(f Fact) bool { return f.ID == id })
	if i < 0 {
		return Fact{}, false
	}
	return facts[i], true
}

// Upstream says how the fact applies to an upstream version, and why.
func (f *Fact) Upstream(v Version) (Status, string) {
	state := f.mainline(v)
	var within []Change // of v's branch
	for _, c := range f.Stable {
		if c.From.branch() == v.branch() {
			within = append(within, c)
		}
	}
	if v.Patch > 0 && len(within) == 0 && v.Compare(f.Unlisted) < 0 {
		state.Status = Unknown
	}
	for _, c := range within {
		if c.From.Compare(v) <= 0 {
			state = c
		}
	}
	return state.Status, f.explain(v, state, within)
}

// mainline is the state of the release that v's branch begins with. Whether the first
// release after the table has a fix is not known.
func (f *Fact) mainline(v Version) Change {
	state := Change{Status: Unknown}
	for _, c := range f.Mainline {
		if c.From.Compare(v.branch()) <= 0 {
			state = c
		}
	}
	if state.Status == Affected && v.Compare(tableEnds) >= 0 {
		return Change{tableEnds, Unknown}
	}
	return state
}

// candidate says how the fact applies to a version before its release: known
// where the release and the mainline before it agree.
func (f *Fact) candidate(v Version) (Status, string) {
	state := f.mainline(v)
	if state.From == v.branch() {
		return Unknown, fmt.Sprintf("%s is %s, but a release candidate may be from before the change", v, state.Status)
	}
	return state.Status, f.explain(v, state, nil)
}

func (f *Fact) explain(v Version, state Change, within []Change) string {
	branch := fmt.Sprintf("%d.%d.y", v.Major, v.Minor)
	switch state.Status {
	case Fixed:
		return "fixed in " + state.From.String()
	case NotAffected:
		if next, ok := after(v, Affected, within, f.Mainline); ok {
			return fmt.Sprintf("%s is before %s, which brought it", v, next)
		}
		return "no " + branch + " is known to have it"
	case Affected:
		text := "affected"
		if state.From != (Version{}) {
			text += " since " + state.From.String()
		}
		if next, ok := after(v, Fixed, within); ok {
			text += ", fixed in " + next.String()
		} else if next, ok := after(v, Fixed, f.Mainline); ok {
			text += fmt.Sprintf(", no fix is known in %s; fixed in %s", branch, next)
		} else {
			text += ", no fix is known"
		}
		for _, r := range slices.Backward(f.Remarks) {
			if r.From.Compare(v) <= 0 {
				return text + "; " + r.Text
			}
		}
		return text
	}
	return fmt.Sprintf("not known for %s: %s", v, f.summary())
}

// Sources are where the row can be looked up: records of vulnerabilities, advisories,
// and commits of the mainline.
func (f *Fact) Sources() (list []string) {
	for _, cve := range f.CVEs {
		list = append(list, "https://www.cve.org/CVERecord?id="+cve)
	}
	for _, a := range f.Advisories {
		list = append(list, "https://access.redhat.com/errata/"+a)
	}
	for _, c := range slices.Concat(f.Cause, f.Fix) {
		if c.Hash != "" {
			list = append(list, "https://git.kernel.org/linus/"+c.Hash)
		} else {
			list = append(list, fmt.Sprintf("the commit %q", c.Subject))
		}
	}
	return list
}

// after is the first version after v with that status, in the first list that
// has one.
func after(v Version, s Status, lists ...[]Change) (Version, bool) {
	for _, list := range lists {
		for _, c := range list {
			if c.Status == s && c.From.Compare(v) > 0 {
				return c.From, true
			}
		}
	}
	return Version{}, false
}

// summary lists what the table has on a fact.
func (f *Fact) summary() string {
	var parts []string
	for _, s := range []Status{Affected, Fixed} {
		var versions []string
		for _, c := range slices.Concat(f.Stable, f.Mainline) {
			if c.Status == s && c.From != (Version{}) {
				versions = append(versions, c.From.String())
			}
		}
		if len(versions) > 0 {
			parts = append(parts, fmt.Sprintf("%s from %s", s, strings.Join(versions, ", ")))
		}
	}
	return "it is known to be " + strings.Join(parts, "; ")
}
