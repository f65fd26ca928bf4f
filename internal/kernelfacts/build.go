package kernelfacts

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Names are what a kernel says of itself, and whose userland it runs.
type Names struct {
	Release      string       // uname -r
	Version      string       // uname -v
	Signature    string       // /proc/version_signature, which only Ubuntu's kernels have
	Distribution Distribution // from os-release; in a container it need not be the kernel's
}

// Build is what the names of a kernel tell about its source.
type Build struct {
	Release string `json:"release"`
	// Version is the upstream version that the kernel is certain to contain.
	Version Version `json:"version"`
	// Exact says that the kernel is that version: one from upstream's stable
	// series, or built from it without a distributor's selection of fixes.
	// Otherwise the kernel has all of Version and an unknown choice of later
	// changes, new faults among them.
	Exact bool `json:"exact"`
	// Candidate marks a kernel from before Version's release: 6.18-rc3.
	Candidate bool `json:"candidate,omitempty"`
	// Distributor is who built it, "" where the names do not tell.
	Distributor string `json:"distributor,omitempty"`
	// Preemption is the model that the kernel was built with, "" if not named.
	Preemption string `json:"preemption,omitempty"`

	rpm rpmBuild
}

// rpmBuild is the part of a RHEL-like or Amazon's release that orders the builds of
// one version: 1160.66.1 of el7.
type rpmBuild struct {
	dist   string // el7, amzn2
	stream string // 6 in el8_6: a minor release's own stream of updates
	number []int
}

var (
	debianVersion   = regexp.MustCompile(`\bDebian (\d+\.\d+[\d.]*)[-~+]`)
	ubuntuSignature = regexp.MustCompile(`^Ubuntu \S+ (\d+\.\d+\.\d+)\s*$`)
	candidate       = regexp.MustCompile(`[-~.]rc\d+`)
	rpmRelease      = regexp.MustCompile(`^-(\d+(?:\.\d+)*)\.(el\d+|amzn\d+)(?:_(\d+))?(?:\.|$)`)
	preemption      = regexp.MustCompile(`\bPREEMPT(_[A-Z]+)?\b`)
)

// distributors recognises builds by what follows the version in the release.
// The first match holds. Those that are not exact carry a selection of fixes
// and features of their own.
var distributors = []struct {
	suffix *regexp.Regexp
	name   string
	exact  bool
}{
	{regexp.MustCompile(`\.elrepo\.`), "ELRepo", true},
	{regexp.MustCompile(`\.el\d+(_\d+)?uek`), "Oracle UEK", false},
	{regexp.MustCompile(`\.el\d+`), "RHEL or a rebuild of it", false},
	{regexp.MustCompile(`\.amzn\d*`), "Amazon", false},
	{regexp.MustCompile(`\.fc\d+`), "Fedora", true},
	{regexp.MustCompile(`-default$|-lp\d+\.|-\d+\.\d[\d.]*-(azure|preempt|rt|64kb|kvmsmall)$`), "SUSE", false},
	{regexp.MustCompile(`-pve$`), "Proxmox", false},
	{regexp.MustCompile(`^\+(deb|bpo)\d*`), "Debian", true},
	// 6.6.57.1-7.azl3, 5.10.0-60.18.0.50.oe2203, 5.4.119-19.0009.28.tl2: the
	// pattern of a package's release, whoever made it.
	{regexp.MustCompile(`^[-.]\d[-\d.]*\.[a-z]{2,}\d`), "a distributor", false},
	// Commits on top of a release (setlocalversion's + and -g, a fourth number).
	{regexp.MustCompile(`\+|-g[0-9a-f]{7,}|-dirty|^\.\d`), "", false},
}

// hidden matches the releases of Debian and Ubuntu, where 6.1.0-28 is the 28th
// incompatible build of 6.1 and says nothing of the stable version.
var hidden = regexp.MustCompile(`^-\d+(\.\d+)*(-|$)`)

// Identify reads the names. It fails where the release is none.
func Identify(n Names) (Build, error) {
	v, rest, err := ParseVersion(n.Release)
	if err != nil {
		return Build{}, fmt.Errorf("identify the kernel: %w", err)
	}
	b := Build{Release: n.Release, Version: v, Exact: true, Candidate: candidate.MatchString(rest)}
	b.Preemption = preemption.FindString(n.Version)
	switch {
	case b.debian(n.Version), b.ubuntu(n.Signature, n.Version), b.suffix(rest):
	case v.Patch == 0 && (hidden.MatchString(rest) || n.Distribution.backports()):
		b.Exact = false
	}
	return b, nil
}

// debian looks for "Debian 6.1.119-1" in uname -v: the stable version, of which
// the release has only the branch.
func (b *Build) debian(version string) bool {
	m := debianVersion.FindStringSubmatch(version)
	if m == nil {
		return false
	}
	v, _, err := ParseVersion(strings.TrimRight(m[1], "."))
	if err != nil || v.branch() != b.Version.branch() || v.Compare(b.Version) < 0 {
		return false
	}
	b.Version, b.Distributor = v, "Debian"
	return true
}

// ubuntu looks for "Ubuntu 6.8.0-45.45-generic 6.8.12": the last stable version
// merged as a whole. Single fixes come on top.
func (b *Build) ubuntu(signature, version string) bool {
	if m := ubuntuSignature.FindStringSubmatch(signature); m != nil {
		if v, _, err := ParseVersion(m[1]); err == nil && v.Compare(b.Version) > 0 && v.branch() == b.Version.branch() {
			b.Version = v
		}
	} else if !strings.Contains(version, "-Ubuntu ") {
		return false
	}
	b.Exact, b.Distributor = false, "Ubuntu"
	return true
}

func (b *Build) suffix(rest string) bool {
	for _, d := range distributors {
		if d.suffix.MatchString(rest) {
			b.Distributor, b.Exact = d.name, d.exact
			b.rpm = parseRPM(rest)
			return true
		}
	}
	return false
}

// parseRPM reads -1160.66.1.el7.x86_64. Kernels whose number has more than
// digits, as kernel-rt's 1160.rt56.1131, are built from other patches: none.
func parseRPM(rest string) rpmBuild {
	m := rpmRelease.FindStringSubmatch(rest)
	if m == nil {
		return rpmBuild{}
	}
	r := rpmBuild{dist: m[2], stream: m[3]}
	for part := range strings.SplitSeq(m[1], ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			return rpmBuild{}
		}
		r.number = append(r.number, n)
	}
	return r
}

// within says whether the build is from from on and before before; an empty
// bound is open.
func (r rpmBuild) within(from, before []int) bool {
	return slices.Compare(r.number, from) >= 0 && (before == nil || slices.Compare(r.number, before) < 0)
}
