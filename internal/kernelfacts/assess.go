package kernelfacts

import "fmt"

// Finding is how a fact applies to a machine.
type Finding struct {
	Fact
	Status Status `json:"status"`
	Reason string `json:"reason"`
	// Sources are where it can be looked up.
	Sources []string `json:"sources"`
}

func (f *Fact) finding(status Status, reason string) Finding {
	return Finding{Fact: *f, Status: status, Reason: reason, Sources: f.Sources()}
}

// Assess goes through the table of facts. What the kernel's names and its
// package's changelog do not settle is unknown.
func Assess(h *Host) []Finding {
	findings := make([]Finding, 0, len(facts))
	for i := range facts {
		findings = append(findings, facts[i].on(h))
	}
	return findings
}

func (f *Fact) on(h *Host) Finding {
	if h.Kernel.Err != nil {
		return f.finding(Unknown, h.Kernel.Err.Error())
	}
	status, reason := f.AppliesTo(h.Kernel.Value)
	if status != Affected && status != Unknown || h.Changelog.Err != nil {
		return f.finding(status, reason)
	}
	return f.afterChangelog(&h.Changelog.Value, status, reason)
}

// AppliesTo says how the fact applies to a kernel by its names alone, and why.
func (f *Fact) AppliesTo(b Build) (Status, string) {
	if b.Version == (Version{}) {
		return Unknown, "the kernel's version is not known"
	}
	for _, r := range f.rebuilds {
		if r.dist == b.rpm.dist && r.base == b.Version && (r.streams || b.rpm.stream == "") && b.rpm.within(r.from, r.before) {
			return r.status, doubt(r.reason, r.confidence)
		}
	}
	var status Status
	var reason string
	if b.Candidate {
		status, reason = f.candidate(b.Version)
	} else {
		status, reason = f.Upstream(b.Version)
	}
	if status != Unknown {
		reason = doubt(reason, f.Confidence)
	}
	if b.Exact || status == Unknown {
		return status, reason
	}
	if status == Fixed {
		// Who adds to a version takes no fixes out of it.
		return Fixed, fmt.Sprintf("%s, and the kernel contains %s", reason, b.Version)
	}
	return Unknown, fmt.Sprintf("%s as such: %s; the kernel has changes of its own%s that its version does not tell",
		b.Version, reason, by(b.Distributor))
}

// doubt says of what is not quite certain that it is not.
func doubt(reason string, c Confidence) string {
	if c == Medium {
		return "probably: " + reason
	}
	return reason
}

func by(distributor string) string {
	if distributor == "" {
		return ""
	}
	return " (" + distributor + ")"
}

// afterChangelog lets the changelog of the kernel's package settle what its
// version leaves open. It can show that a fix is in. That it shows none is no
// proof: changelogs are cut, and a rebase brings fixes unnamed. A cause counts
// only where the version does not decide.
func (f *Fact) afterChangelog(log *Changelog, status Status, reason string) Finding {
	switch entry, found := log.fix(f); {
	case found == reverted:
		return f.finding(Unknown, fmt.Sprintf("the changelog of %s takes the fix back: %q", log.Package, entry))
	case found == listed:
		return f.finding(Fixed, fmt.Sprintf("the changelog of %s has the fix: %q", log.Package, entry))
	}
	if status == Unknown {
		if entry, found := log.commits(f.Cause); found == listed {
			return f.finding(Affected, fmt.Sprintf("the changelog of %s has the change that brings it, and no fix: %q", log.Package, entry))
		}
	}
	return f.finding(status, fmt.Sprintf("%s; the changelog of %s does not name a fix", reason, log.Package))
}
