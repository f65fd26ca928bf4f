package kernelfacts_test

import (
	"slices"
	"strings"
	"testing"

	"verdictd/internal/kernelfacts"
)

// columns are the facts in the order of the tables below.
var columns = []string{
	kernelfacts.FactNoResolution, "nat-clash-dropped", kernelfacts.FactReinjection, kernelfacts.FactDNATMisroute,
	"reply-clash-dropped", "reverse-clash",
	kernelfacts.FactClashCrash, kernelfacts.FactConfirmedEarly, kernelfacts.FactClonedDropped, kernelfacts.FactGRODropped,
	kernelfacts.FactVerdictUAF, "bridge-verdict-leak", "ct-template-removed", "mangle-below-transport",
}

var letters = map[kernelfacts.Status]byte{kernelfacts.Affected: 'A', kernelfacts.Fixed: 'F', kernelfacts.NotAffected: '-', kernelfacts.Unknown: '?'}

// pattern writes findings as the tables do: a letter a fact, in groups.
func pattern(findings []kernelfacts.Finding) string {
	var b strings.Builder
	for i, f := range findings {
		if i == 4 || i == 6 || i == 10 {
			b.WriteByte(' ')
		}
		b.WriteByte(letters[f.Status])
	}
	return b.String()
}

func hostOf(t *testing.T, n kernelfacts.Names) *kernelfacts.Host {
	t.Helper()
	b, err := kernelfacts.Identify(n)
	if err != nil {
		t.Fatal(err)
	}
	return &kernelfacts.Host{
		Kernel:    kernelfacts.Reading[kernelfacts.Build]{Value: b},
		Changelog: kernelfacts.Reading[kernelfacts.Changelog]{Err: errNoRPM},
	}
}

func TestUpstreamReleases(t *testing.T) {
	for release, want := range map[string]string{
		// Clash resolution comes in 4.7, and with it the crash.
		"3.2.102": "A--- A? --?? -???",
		"4.6.0":   "A--- AA ---- -???",
		"4.6.7":   "A--- A? --?? -???",
		"4.7.0":   "FA-- AA A--- -???",
		"4.7.10":  "FA-- A? A-?? -???",
		"4.8.17":  "FA-- A? A-?? -???",
		// Of 4.9 no fix of the crash is known.
		"4.9.162":  "FA-- A? A-?? -???",
		"4.9.163":  "FF-- A? A-?? -???",
		"4.9.337":  "FF-- A? A-?? -???",
		"4.14.105": "FA-- A? A-?? -???",
		"4.14.106": "FF-- A? A-?? -???",
		"4.14.281": "FF-- A? A-?? -???",
		"4.14.282": "FF-- A? F-?? -???",
		"4.17.19":  "FA-- A? A-?? -???",
		// The resolver at re-injection: 4.18 to 6.11.
		"4.18.0":   "FAAA AA A--- -???",
		"4.19.28":  "FAAA A? A-?? -???",
		"4.19.29":  "FFAA A? A-?? -???",
		"4.19.245": "FFAA A? A-?? -???",
		"4.19.246": "FFAA A? F-?? -???",
		"4.20.17":  "FAAA A? A-?? -???",
		"5.0.0":    "FFAA AA A--- -???",
		"5.4.196":  "FFAA A? A-?? -???",
		"5.4.197":  "FFAA A? F-?? -???",
		"5.5.19":   "FFAA A? A-?? -???",
		"5.6.0":    "FFAA FA A--- -???",
		"5.9.16":   "FFAA F? A-?? -???",
		"5.10.119": "FFAA F? A-?? -???",
		"5.10.120": "FFAA F? F-?? -???",
		"5.15.44":  "FFAA F? A-?? -???",
		"5.15.45":  "FFAA F? F-?? -???",
		"5.16.20":  "FFAA F? A-?? -???",
		"5.17.12":  "FFAA F? A-?? -???",
		"5.17.13":  "FFAA F? F-?? -???",
		"5.18.1":   "FFAA F? A-?? -???",
		"5.18.2":   "FFAA F? F-?? -???",
		"5.18.15":  "FFAA F? F-?? -???",
		"5.18.16":  "FFAA F? F-?? -??F",
		// The crash is fixed, and CVE-2025-38472 begins.
		"5.19.0":  "FFAA FA FA-- -???",
		"6.0.19":  "FFAA F? FA?? -??F",
		"6.1.0":   "FFAA FA FA-- -??F",
		"6.1.106": "FFAA F? FA-- -??F",
		"6.1.107": "FFAA F? FAAA -??F",
		"6.1.146": "FFAA F? FAAA -??F",
		"6.1.147": "FFAA F? FFAA -??F",
		"6.1.166": "FFAA F? FFAA -??F",
		"6.1.167": "FFAA F? FFAA -FFF",
		"6.1.190": "FFAA F? FFAA -FFF",
		"6.1.191": "FFAA F? FFAF -FFF",
		"6.1.192": "FFAA F? FFAF -FFF",
		// Of 6.6, the backports of 7d8dc1c7be8d and what follows are not known.
		"6.6.0":   "FFAA FA FA-- -??F",
		"6.6.1":   "FFAA F? FA?? ???F",
		"6.6.99":  "FFAA F? FA?? ???F",
		"6.6.100": "FFAA F? FF?? ???F",
		"6.6.129": "FFAA F? FF?? ???F",
		"6.6.130": "FFAA F? FF?? ?F?F",
		"6.10.0":  "FFAA FA FA-- -??F",
		"6.10.14": "FFAA F? FA?? -??F",
		"6.11.0":  "FFAA FA FAAA -??F",
		"6.11.11": "FFAA F? FAAA -??F",
		// The trap: what fixes the tenth column brings the eleventh.
		"6.12.0":          "FFFF FF FAAA -??F",
		"6.12.39":         "FFFF FF FAAA -??F",
		"6.12.40":         "FFFF FF FFAA -??F",
		"6.12.74":         "FFFF FF FFAA -??F",
		"6.12.75":         "FFFF FF FFAF A??F",
		"6.12.77":         "FFFF FF FFAF A??F",
		"6.12.78":         "FFFF FF FFAF AF?F",
		"6.12.82":         "FFFF FF FFAF AF?F",
		"6.12.83":         "FFFF FF FFAF FF?F",
		"6.13.12":         "FFFF FF FAAA -??F",
		"6.15.0":          "FFFF FF FAAA -??F",
		"6.15.7":          "FFFF FF FAAA -??F",
		"6.15.8":          "FFFF FF FFAA -??F",
		"6.16.0":          "FFFF FF FFAA -??F",
		"6.17.13":         "FFFF FF FFAA -??F",
		"6.18.13":         "FFFF FF FFAA -??F",
		"6.18.14":         "FFFF FF FFAF A??F",
		"6.18.18":         "FFFF FF FFAF A??F",
		"6.18.19":         "FFFF FF FFAF AF?F",
		"6.18.23":         "FFFF FF FFAF AF?F",
		"6.18.24":         "FFFF FF FFAF FF?F",
		"6.18.44-fc-v669": "FFFF FF FFAF FF?F",
		"6.19.0":          "FFFF FF FFAA -??F",
		"6.19.3":          "FFFF FF FFAA -??F",
		"6.19.4":          "FFFF FF FFAF A??F",
		"6.19.8":          "FFFF FF FFAF A??F",
		"6.19.9":          "FFFF FF FFAF AF?F",
		"6.19.13":         "FFFF FF FFAF AF?F",
		"6.19.14":         "FFFF FF FFAF FF?F",
		// Newer than the table: which release has the fixes of 2026 is not known.
		"7.0.0":  "FFFF FF FFA? ???F",
		"6.20.1": "FFFF FF FFA? ???F",
		// Candidates: unknown where the release changed something.
		"6.12.0-rc3": "FF?? F? FAAA -??F",
		"6.12-rc1":   "FF?? F? FAAA -??F",
		"6.18.0-rc7": "FFFF FF FFAA -??F",
		"4.7.0-rc2":  "??-- AA ?--- -???",
		// Commits of one's own on top: what is fixed stays fixed, no more is known.
		"6.18.0+":                            "FFFF FF FF?? ???F",
		"6.18.0-00012-gdeadbeef1":            "FFFF FF FF?? ???F",
		"5.15.153.1-microsoft-standard-WSL2": "FF?? F? F??? ????",
		// Followers of stable.
		"6.6.130-0-lts":              "FFAA F? FF?? ?F?F",
		"6.12.40-arch1-1":            "FFFF FF FFAA -??F",
		"6.11.4-301.fc41.x86_64":     "FFAA F? FAAA -??F",
		"6.6.99-1.el9.elrepo.x86_64": "FFAA F? FA?? ???F",
		"6.12.57+deb13-amd64":        "FFFF FF FFAA -??F",
	} {
		findings := kernelfacts.Assess(hostOf(t, kernelfacts.Names{Release: release}))
		if got := pattern(findings); got != want {
			t.Errorf("%-20s\n got %s\nwant %s", release, got, want)
		}
	}
}

func TestDistributors(t *testing.T) {
	rhel := kernelfacts.Distribution{ID: "almalinux", Like: []string{"rhel", "centos", "fedora"}}
	const debian = "#1 SMP PREEMPT_DYNAMIC Debian 6.1.119-1 (2024-11-22)"
	for _, c := range []struct {
		names kernelfacts.Names
		want  string
	}{
		// RHEL 7.9 as released was looked at; later builds and older kernels were not.
		{kernelfacts.Names{Release: "3.10.0-1160.el7.x86_64"}, "F?-- ?? A??? ????"},
		{kernelfacts.Names{Release: "3.10.0-1160.2.1.el7.x86_64"}, "F??? ?? ???? ????"},
		{kernelfacts.Names{Release: "3.10.0-1160.66.1.el7.x86_64"}, "F??? ?? ???? ????"},
		{kernelfacts.Names{Release: "3.10.0-1127.19.1.el7.x86_64"}, "???? ?? ???? ????"},
		{kernelfacts.Names{Release: "3.10.0-1160.rt56.1131.el7.x86_64"}, "???? ?? ???? ????"},
		{kernelfacts.Names{Release: "2.6.32-754.el6.x86_64"}, "???? ?? ???? ????"},
		// RHEL 8: 425.3.1 has the fix. An older minor release's updates may.
		{kernelfacts.Names{Release: "4.18.0-372.9.1.el8.x86_64"}, "F??? ?? A??? ????"},
		{kernelfacts.Names{Release: "4.18.0-425.el8.x86_64"}, "F??? ?? A??? ????"},
		{kernelfacts.Names{Release: "4.18.0-425.3.1.el8.x86_64"}, "F??? ?? F??? ????"},
		{kernelfacts.Names{Release: "4.18.0-477.27.1.el8_8.x86_64"}, "F??? ?? F??? ????"},
		{kernelfacts.Names{Release: "4.18.0-372.80.1.el8_6.x86_64"}, "F??? ?? ???? ????"},
		{kernelfacts.Names{Release: "5.14.0-427.el9.x86_64"}, "FF?? F? ???? ????"},
		{kernelfacts.Names{Release: "5.14.0-503.11.1.el9_5.x86_64", Distribution: rhel}, "FF?? F? ???? ????"},
		{kernelfacts.Names{Release: "6.12.0-55.9.1.el10_0.x86_64"}, "FFFF FF F??? ???F"},
		{kernelfacts.Names{Release: "5.15.0-100.96.32.el9uek.x86_64"}, "FF?? F? ???? ????"},
		{kernelfacts.Names{Release: "5.4.17-2136.300.7.el8uek.x86_64"}, "FF?? ?? ???? ????"},
		{kernelfacts.Names{Release: "4.14.355-275.570.amzn2.x86_64"}, "FF?? ?? F??? ????"},
		{kernelfacts.Names{Release: "6.1.119-129.201.amzn2023.x86_64"}, "FF?? F? F??? ???F"},
		{kernelfacts.Names{Release: "5.14.21-150500.55.7-default"}, "FF?? F? ???? ????"},
		{kernelfacts.Names{Release: "5.14.21-150500.33.11-azure"}, "FF?? F? ???? ????"},
		{kernelfacts.Names{Release: "4.12.14-122.162-default"}, "F??? ?? ???? ????"},
		{kernelfacts.Names{Release: "6.6.57.1-7.azl3"}, "FF?? F? F??? ???F"},
		{kernelfacts.Names{Release: "5.10.0-60.18.0.50.oe2203.x86_64"}, "FF?? F? ???? ????"},
		{kernelfacts.Names{Release: "6.8.12-4-pve"}, "FF?? F? F??? ???F"},
		// Debian names the stable version in uname -v.
		{kernelfacts.Names{Release: "6.1.0-28-amd64", Version: debian}, "FFAA F? FAAA -??F"},
		{kernelfacts.Names{Release: "6.1.0-28-amd64"}, "FF?? F? F??? ???F"},
		{kernelfacts.Names{Release: "5.10.0-14-amd64", Version: "#1 SMP Debian 5.10.113-1 (2022-04-29)"}, "FFAA F? A-?? -???"},
		{kernelfacts.Names{Release: "5.10.0-15-amd64", Version: "#1 SMP Debian 5.10.120-1 (2022-06-09)"}, "FFAA F? F-?? -???"},
		{kernelfacts.Names{Release: "5.10.0-8-rt"}, "FF?? F? ???? ????"},
		{kernelfacts.Names{Release: "6.1.0-0.deb11.21-amd64", Version: "#1 SMP PREEMPT_DYNAMIC Debian 6.1.90-1~bpo11+1 (2024-05-06)"}, "FFAA F? FA-- -??F"},
		// A version of another branch is a compiler's, or nonsense.
		{kernelfacts.Names{Release: "5.10.0-14-amd64", Version: debian}, "FF?? F? ???? ????"},
		// Ubuntu names the stable version that it is built on.
		{kernelfacts.Names{Release: "6.8.0-45-generic", Signature: "Ubuntu 6.8.0-45.45-generic 6.8.12\n"}, "FF?? F? F??? ???F"},
		{kernelfacts.Names{Release: "6.8.0-45-generic", Version: "#45-Ubuntu SMP PREEMPT_DYNAMIC Fri Aug 30 12:02:04 UTC 2024"}, "FF?? F? F??? ???F"},
		{kernelfacts.Names{Release: "5.15.0-25-generic", Signature: "Ubuntu 5.15.0-25.25-generic 5.15.30"}, "FF?? F? ???? ????"},
		{kernelfacts.Names{Release: "5.15.0-43-generic", Signature: "Ubuntu 5.15.0-43.46-generic 5.15.45"}, "FF?? F? F??? ????"},
		// A bare number where the distribution keeps one for years.
		{kernelfacts.Names{Release: "5.14.0", Distribution: rhel}, "FF?? F? ???? ????"},
		{kernelfacts.Names{Release: "5.14.0"}, "FFAA FA A--- -???"},
		{kernelfacts.Names{Release: "6.12.83", Distribution: rhel}, "FFFF FF FFAF FF?F"},
	} {
		findings := kernelfacts.Assess(hostOf(t, c.names))
		if got := pattern(findings); got != c.want {
			t.Errorf("%+v\n got %s\nwant %s", c.names, got, c.want)
		}
	}
}

func TestNonsenseIsUnknown(t *testing.T) {
	for _, release := range []string{"", "6", "abc", "6.x.1", "-1.2.3", "6.18.", "v6.18.1", "6.18foo", "99999999999.1.1", "6.18.123456", "6..1", "\x00"} {
		b, err := kernelfacts.Identify(kernelfacts.Names{Release: release})
		if err == nil {
			t.Errorf("%q was taken for a release", release)
		}
		for _, f := range kernelfacts.Assess(&kernelfacts.Host{Kernel: kernelfacts.Reading[kernelfacts.Build]{Value: b, Err: err}}) {
			if f.Status != kernelfacts.Unknown || f.Reason == "" {
				t.Errorf("%q: %s is %s: %q", release, f.ID, f.Status, f.Reason)
			}
		}
	}
	for _, f := range kernelfacts.Assess(&kernelfacts.Host{Changelog: kernelfacts.Reading[kernelfacts.Changelog]{Err: errNoRPM}}) {
		if f.Status != kernelfacts.Unknown {
			t.Errorf("no kernel at all: %s is %s", f.ID, f.Status)
		}
	}
}

func TestReasons(t *testing.T) {
	for _, c := range []struct{ release, fact, want string }{
		{"5.10.119", kernelfacts.FactClashCrash, "affected since 4.7, fixed in 5.10.120; since 5.5 the entry's extension is freed at once (2ad9d7747c10)"},
		{"4.9.337", kernelfacts.FactClashCrash, "affected since 4.7, no fix is known in 4.9.y; fixed in 5.19; before 5.5 the entry's extension outlives it by an RCU grace period"},
		{"5.10.120", kernelfacts.FactClashCrash, "fixed in 5.10.120"},
		{"4.6.1", kernelfacts.FactClashCrash, "4.6.1 is before 4.7, which brought it"},
		{"6.12.74", kernelfacts.FactVerdictUAF, "6.12.74 is before 6.12.75, which brought it"},
		{"6.1.192", kernelfacts.FactVerdictUAF, "no 6.1.y is known to have it"},
		{"6.18.1", kernelfacts.FactClonedDropped, "affected since 6.11, no fix is known"},
		{"6.6.50", kernelfacts.FactClonedDropped, "not known for 6.6.50: it is known to be affected from 6.1.107, 6.11"},
		{"6.12.0-rc1", kernelfacts.FactReinjection, "6.12 is fixed, but a release candidate may be from before the change"},
		{"4.18.0-425.3.1.el8.x86_64", kernelfacts.FactClashCrash, "fixed in 4.18.0-425.3.1.el8 (RHSA-2022:7683, RHEL 8.7)"},
		{"6.1.119-129.201.amzn2023.x86_64", kernelfacts.FactConfirmedEarly, "6.1.119 as such: affected since 5.19, fixed in 6.1.147; " +
			"the kernel has changes of its own (Amazon) that its version does not tell"},
		{"6.1.119-129.201.amzn2023.x86_64", kernelfacts.FactClashCrash, "fixed in 5.19, and the kernel contains 6.1.119"},
	} {
		for _, f := range kernelfacts.Assess(hostOf(t, kernelfacts.Names{Release: c.release})) {
			if f.ID == c.fact && f.Reason != c.want {
				t.Errorf("%s, %s:\n got %s\nwant %s", c.release, c.fact, f.Reason, c.want)
			}
		}
	}
}

// The table is read in order, so it must be in order.
func TestTableIsInOrder(t *testing.T) {
	var ids []string
	for _, f := range kernelfacts.Facts() {
		ids = append(ids, f.ID)
		if f.Effect == "" || f.Trigger == "" || len(f.CVEs)+len(f.Fix)+len(f.Cause) == 0 {
			t.Errorf("%s lacks its effect, its trigger, or any name", f.ID)
		}
		for _, list := range [][]kernelfacts.Change{f.Mainline, f.Stable} {
			if !slices.IsSortedFunc(list, func(a, b kernelfacts.Change) int { return a.From.Compare(b.From) }) {
				t.Errorf("%s is not in order: %v", f.ID, list)
			}
		}
		if len(f.Mainline) == 0 || f.Mainline[0].From != (kernelfacts.Version{}) {
			t.Errorf("%s does not say how it began", f.ID)
		}
		for _, c := range f.Mainline {
			if c.From.Patch != 0 {
				t.Errorf("%s: %s is no mainline release", f.ID, c.From)
			}
		}
		for _, c := range f.Stable {
			if c.From.Patch == 0 {
				t.Errorf("%s: %s is no stable version", f.ID, c.From)
			}
		}
	}
	if !slices.Equal(ids, columns) {
		t.Errorf("the table has the rows %q, the tests have %q", ids, columns)
	}
}
