package kernelfacts_test

import (
	"slices"
	"strings"
	"testing"

	"verdictd/internal/kernelfacts"
)

// columns are the facts that the tables below have, in their order.
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
	for i, id := range columns {
		if i == 4 || i == 6 || i == 10 {
			b.WriteByte(' ')
		}
		at := slices.IndexFunc(findings, func(f kernelfacts.Finding) bool { return f.ID == id })
		b.WriteByte(letters[findings[at].Status])
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
		"3.2.102": "A--- A? ---- ---A",
		"4.6.0":   "A--- AA ---- --AA",
		"4.6.7":   "A--- A? ---- --AA",
		"4.7.0":   "FA-- AA A--- -AAA",
		"4.7.10":  "FA-- A? A--- -AAA",
		"4.8.17":  "FA-- A? A--- -AAA",
		// Of 4.9 no fix of the crash is known.
		"4.9.162":  "FA-- A? A--- -AAA",
		"4.9.163":  "FA-- A? A--- -AAA",
		"4.9.337":  "FA-- A? A--- -AAF",
		"4.14.105": "FA-- A? A--- -AAA",
		"4.14.106": "FA-- A? A--- -AAA",
		"4.14.281": "FF-- A? A--- -AAA",
		"4.14.282": "FF-- A? F--- -AAA",
		"4.17.19":  "FA-- A? A--- -AAA",
		// The resolver at re-injection: 4.18 to 6.11.
		"4.18.0":   "FAAA AA A--- -AAA",
		"4.19.28":  "FAAA A? A--- -AAA",
		"4.19.29":  "FFAA A? A--- -AAA",
		"4.19.245": "FFAA A? A--- -AAA",
		"4.19.246": "FFAA A? F--- -AAA",
		"4.20.17":  "FAAA A? A--- -AAA",
		"5.0.0":    "FFAA AA A--- -AAA",
		"5.4.196":  "FFAA A? A--- -AAA",
		"5.4.197":  "FFAA A? F--- -AAA",
		"5.5.19":   "FFAA A? A--- -AAA",
		"5.6.0":    "FFAA FA A--- -AAA",
		"5.9.16":   "FFAA F? A--- -AAA",
		"5.10.119": "FFAA F? A--- -AAA",
		"5.10.120": "FFAA F? F--- -AAA",
		"5.15.44":  "FFAA F? A--- -AAA",
		"5.15.45":  "FFAA F? F--- -AAA",
		"5.16.20":  "FFAA F? A--- -AAA",
		"5.17.12":  "FFAA F? A--- -AAA",
		"5.17.13":  "FFAA F? F--- -AAA",
		"5.18.1":   "FFAA F? A--- -AAA",
		"5.18.2":   "FFAA F? F--- -AAA",
		"5.18.15":  "FFAA F? FA-- -AAA",
		"5.18.16":  "FFAA F? FA-- -AAF",
		// The crash is fixed, and CVE-2025-38472 begins.
		"5.19.0":  "FFAA FA FA-- -AAF",
		"6.0.19":  "FFAA F? FA-- -AAF",
		"6.1.0":   "FFAA FA FA-- -AAF",
		"6.1.106": "FFAA F? FA-- -AAF",
		"6.1.107": "FFAA F? FAAA -AAF",
		"6.1.146": "FFAA F? FAAA -AAF",
		"6.1.147": "FFAA F? FFAA -AAF",
		"6.1.166": "FFAA F? FFAA -AAF",
		"6.1.167": "FFAA F? FFAA -FFF",
		"6.1.190": "FFAA F? FFAA -FFF",
		"6.1.191": "FFAA F? FFAF -FFF",
		"6.1.192": "FFAA F? FFAF -FFF",
		// Of 6.6, the backports of 7d8dc1c7be8d and what follows are not known.
		"6.6.0":   "FFAA FA FA-- -AAF",
		"6.6.1":   "FFAA F? FA-- -AAF",
		"6.6.99":  "FFAA F? FAAA -AAF",
		"6.6.100": "FFAA F? FFAA -AAF",
		"6.6.129": "FFAA F? FFAA -AAF",
		"6.6.130": "FFAA F? FFAA -FFF",
		"6.10.0":  "FFAA FA FA-- -AAF",
		"6.10.14": "FFAA F? FAAA -AAF",
		"6.11.0":  "FFAA FA FAAA -AAF",
		"6.11.11": "FFAA F? FAAA -AAF",
		// The trap: what fixes the tenth column brings the eleventh.
		"6.12.0":          "FFFF FF FAAA -AAF",
		"6.12.39":         "FFFF FF FAAA -AAF",
		"6.12.40":         "FFFF FF FFAA -AAF",
		"6.12.74":         "FFFF FF FFAA -AAF",
		"6.12.75":         "FFFF FF FFAF AAAF",
		"6.12.77":         "FFFF FF FFAF AAAF",
		"6.12.78":         "FFFF FF FFAF AFFF",
		"6.12.82":         "FFFF FF FFAF AFFF",
		"6.12.83":         "FFFF FF FFAF FFFF",
		"6.13.12":         "FFFF FF FAAA -AAF",
		"6.15.0":          "FFFF FF FAAA -AAF",
		"6.15.7":          "FFFF FF FAAA -AAF",
		"6.15.8":          "FFFF FF FFAA -AAF",
		"6.16.0":          "FFFF FF FFAA -AAF",
		"6.17.13":         "FFFF FF FFAA -AAF",
		"6.18.13":         "FFFF FF FFAA -AAF",
		"6.18.14":         "FFFF FF FFAF AAAF",
		"6.18.18":         "FFFF FF FFAF AAAF",
		"6.18.19":         "FFFF FF FFAF AFAF",
		"6.18.23":         "FFFF FF FFAF AFFF",
		"6.18.24":         "FFFF FF FFAF FFFF",
		"6.18.44-fc-v669": "FFFF FF FFAF FFFF",
		"6.19.0":          "FFFF FF FFAA -AAF",
		"6.19.3":          "FFFF FF FFAA -AAF",
		"6.19.4":          "FFFF FF FFAF AAAF",
		"6.19.8":          "FFFF FF FFAF AAAF",
		"6.19.9":          "FFFF FF FFAF AFAF",
		"6.19.13":         "FFFF FF FFAF AFFF",
		"6.19.14":         "FFFF FF FFAF FFFF",
		// After 6.19 came 7.0.
		"7.0.0": "FFFF FF FFAF -FFF",
		"7.1.2": "FFFF FF FFAF -FFF",
		"7.3.4": "FFFF FF FFAF -FFF",
		// Newer than the table: what was affected may be fixed.
		"7.4.0": "FFFF FF FF?F -FFF",
		"8.0.1": "FFFF FF FF?F -FFF",
		// Candidates: unknown where the release changed something.
		"6.12.0-rc3": "FF?? F? FAAA -AAF",
		"6.12-rc1":   "FF?? F? FAAA -AAF",
		"6.18.0-rc7": "FFFF FF FFAA -AAF",
		"4.7.0-rc2":  "??-- AA ?--- -?AA",
		// Commits of one's own on top: what is fixed stays fixed, no more is known.
		"6.18.0+":                            "FFFF FF FF?? ???F",
		"6.18.0-00012-gdeadbeef1":            "FFFF FF FF?? ???F",
		"5.15.153.1-microsoft-standard-WSL2": "FF?? F? F??? ???F",
		// Followers of stable.
		"6.6.130-0-lts":              "FFAA F? FFAA -FFF",
		"6.12.40-arch1-1":            "FFFF FF FFAA -AAF",
		"6.11.4-301.fc41.x86_64":     "FFAA F? FAAA -AAF",
		"6.6.99-1.el9.elrepo.x86_64": "FFAA F? FAAA -AAF",
		"6.12.57+deb13-amd64":        "FFFF FF FFAA -AAF",
	} {
		findings := kernelfacts.Assess(hostOf(t, kernelfacts.Names{Release: release}))
		if got := pattern(findings); got != want {
			t.Errorf("%-20s\n got %s\nwant %s", release, got, want)
		}
	}
}

// TestBoundaries: the rows that the patterns do not show, at the edges of what is known.
// A fact's letters are those of its versions.
func TestBoundaries(t *testing.T) {
	for _, c := range []struct{ fact, versions, want string }{
		{"reply-entry-vanishes", "5.5.19 5.6.0 5.7.19 5.8.7 5.8.8 5.9.0", "- A A A F F"},
		{"reverse-clash-nat-dropped", "6.11.3 6.11.4 6.12.33 6.12.34 6.14.0", "- A A F ?"},
		{"gre-clash-dropped", "6.4.16 6.5.0", "A F"},
		{"generic-clash-dropped", "5.10.251 5.10.252 6.1.164 6.1.165 6.6.100 6.12.74 6.12.75 6.19.14 7.0.0", "A F A F ? A F ? F"},
		{"icmp-clash-dropped", "6.19.14 7.0.0", "A F"},
		{"flush-of-all-queues", "4.14.300 4.15.0 7.3.4 7.4.0", "- A A ?"},
		{"rewrites-refused", "7.0.11 7.1.5 7.2.13 7.3.4", "- ? A A"},
		{"close-unbind-race", "4.19.300 5.10.262 6.1.188 6.1.189 6.12.111 6.12.112 7.2.8 7.2.9 7.3.0", "? A A F A F A F F"},
		{"null-at-verdict", "5.4.43 5.4.44 5.4.246 5.4.247 5.6.15 5.6.16 5.10.183 5.10.184 5.15.117 6.1.34 6.3.7 6.3.8 6.4.0", "- A A F - A A F F F A F F"},
		{"reinjected-clash-crash", "5.4.43 5.4.44 5.4.52 5.6.16 5.7.8 5.7.9 5.8.0", "- A F A A F F"},
		{"bridge-device-freed", "4.6.7 4.7.0 5.10.258 5.10.259 6.12.92 7.0.10 7.0.11 7.1.0", "- A A F F A F F"},
		{"bridge-device-freed", "4.18.0-553.167.1.el8_10.x86_64 4.18.0-553.168.1.el8_10.x86_64 5.14.0-687.52.1.el9_8.x86_64 5.14.0-570.el9.x86_64", "? F F A"},
		{"bridge-fake-destination", "3.16.85 3.18.0 6.1.177 6.1.178 7.0.13 7.1.5", "- A A F A F"},
		{"bridge-port-left", "5.10.262 6.1.190 6.1.191 7.0.12 7.0.13 7.1.0", "A A F A F F"},
		{"bridge-without-destination", "4.19.61 4.19.62 5.2.3 5.2.4 5.3.0 5.4.8 5.4.9 5.5.0", "- A - A A A F F"},
		{"socket-reference", "4.9.304 4.9.305 5.16.12 5.16.13 5.17.0", "A F A F F"},
		{"queue-destroyed", "6.1.92 6.1.93 6.9.3 6.9.4 6.10.0", "A F A F F"},
		{"queue-destroyed", "4.18.0-553.16.1.el8_10.x86_64 4.18.0-513.el8.x86_64", "F A"},
		{"namespace-setup-failed", "5.15.76 5.15.77 6.0.7 6.1.0", "A F F F"},
		{"conntrack-timeout", "4.3.6 4.4.0 6.1.27 6.1.28 6.4.0", "- A A F F"},
		{"sctp-checksums", "6.1.189 6.1.190 6.11.11 6.12.0", "A F ? F"},
		{"mac-header-read", "5.10.79 5.10.80 5.16.0", "A F F"},
		{"raw-header-length", "5.10.257 5.10.258 7.0.10 7.0.11 7.1.0", "A F A F F"},
		{"bridge-clones-confirmed", "6.1.80 6.1.81 6.7.8 6.7.9 6.8.0", "A F A F F"},
		{"bridge-clones-warned", "6.1.80 6.1.81 6.1.150 6.1.151 6.12.45 6.12.46 6.17.0", "- A A F A F F"},
		{"ct-template-removed", "3.3.8 3.4.0 5.10.252 5.10.253 6.19.9 6.19.10 7.0.0", "- A A F A F F"},
		{"ct-template-flush", "5.10.252 5.10.253 6.19.9 6.19.10 7.3.4", "- A - A A"},
		{"weakly-ordered", "5.10.235 5.10.236 5.16.20 5.17.0 5.18.12 5.18.13 5.19.0", "- F - A A F F"},
		{"chain-limit", "5.14.0 5.15.0 5.15.9 6.1.19 6.1.20 6.3.0", "- A ? A F F"},
		{"collector-bursts", "4.19.205 4.19.206 5.10.61 5.10.262 5.15.33 5.15.34 5.17.3 5.18.0", "- A - A A F F F"},
		{"listener-tracking", "5.18.0 5.19.0 6.1.17 6.1.18 6.2.10 6.3.0", "- A A F ? F"},
		{"mark-left-out", "5.10.158 5.10.159 5.10.175 5.15.100 6.0.0 6.1.19 6.1.20 6.3.0", "- A F ? - A F F"},
		{"event-redelivery", "5.18.0 6.1.177 6.1.178 6.12.97 7.1.2 7.2.0", "- A F F ? ?"},
		{"table-dump-leak", "6.1.148 6.1.149 6.16.0 6.17.0", "A F A F"},
	} {
		f, ok := kernelfacts.FactByID(c.fact)
		if !ok {
			t.Errorf("there is no %s", c.fact)
			continue
		}
		var got []string
		for release := range strings.FieldsSeq(c.versions) {
			b, err := kernelfacts.Identify(kernelfacts.Names{Release: release})
			if err != nil {
				t.Fatal(err)
			}
			status, _ := f.AppliesTo(b)
			got = append(got, string(letters[status]))
		}
		if got := strings.Join(got, " "); got != c.want {
			t.Errorf("%s\n in %s\n got %s\nwant %s", c.fact, c.versions, got, c.want)
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
		{kernelfacts.Names{Release: "3.10.0-1160.el7.x86_64"}, "F?-- ?? A?-- ???-"},
		{kernelfacts.Names{Release: "3.10.0-1160.2.1.el7.x86_64"}, "F??? ?? A?-- ???-"},
		{kernelfacts.Names{Release: "3.10.0-1160.66.1.el7.x86_64"}, "F??? ?? A?-- ???-"},
		{kernelfacts.Names{Release: "3.10.0-1127.19.1.el7.x86_64"}, "F??? ?? A?-- ???-"},
		{kernelfacts.Names{Release: "3.10.0-1160.rt56.1131.el7.x86_64"}, "???? ?? ???? ????"},
		{kernelfacts.Names{Release: "2.6.32-754.el6.x86_64"}, "???? ?? ???? ????"},
		// RHEL 8: 425.3.1 has the fix. An older minor release's updates may.
		{kernelfacts.Names{Release: "4.18.0-372.9.1.el8.x86_64"}, "F??? ?? A?-- ???A"},
		{kernelfacts.Names{Release: "4.18.0-425.el8.x86_64"}, "F??? ?? A?-- ???A"},
		{kernelfacts.Names{Release: "4.18.0-425.3.1.el8.x86_64"}, "F??? ?? F?-- ???F"},
		{kernelfacts.Names{Release: "4.18.0-477.27.1.el8_8.x86_64"}, "F??? ?? F?-- ???F"},
		{kernelfacts.Names{Release: "4.18.0-372.80.1.el8_6.x86_64"}, "F??? ?? ??-- ????"},
		{kernelfacts.Names{Release: "5.14.0-427.el9.x86_64"}, "FF?? F? ??AA ???F"},
		{kernelfacts.Names{Release: "5.14.0-503.11.1.el9_5.x86_64", Distribution: rhel}, "FF?? F? ??AA ???F"},
		{kernelfacts.Names{Release: "6.12.0-55.9.1.el10_0.x86_64"}, "FFFF FF F?AA ???F"},
		{kernelfacts.Names{Release: "5.15.0-100.96.32.el9uek.x86_64"}, "FF?? F? ???? ????"},
		{kernelfacts.Names{Release: "5.4.17-2136.300.7.el8uek.x86_64"}, "FF?? ?? ???? ????"},
		{kernelfacts.Names{Release: "4.14.355-275.570.amzn2.x86_64"}, "FF?? ?? F??? ???F"},
		{kernelfacts.Names{Release: "6.1.119-129.201.amzn2023.x86_64"}, "FF?? F? F??? ???F"},
		{kernelfacts.Names{Release: "5.14.21-150500.55.7-default"}, "FF?? F? ???? ????"},
		{kernelfacts.Names{Release: "5.14.21-150500.33.11-azure"}, "FF?? F? ???? ????"},
		{kernelfacts.Names{Release: "4.12.14-122.162-default"}, "F??? ?? ???? ????"},
		{kernelfacts.Names{Release: "6.6.57.1-7.azl3"}, "FF?? F? F??? ???F"},
		{kernelfacts.Names{Release: "5.10.0-60.18.0.50.oe2203.x86_64"}, "FF?? F? ???? ????"},
		{kernelfacts.Names{Release: "6.8.12-4-pve"}, "FF?? F? F??? ???F"},
		// Debian names the stable version in uname -v.
		{kernelfacts.Names{Release: "6.1.0-28-amd64", Version: debian}, "FFAA F? FAAA -AAF"},
		{kernelfacts.Names{Release: "6.1.0-28-amd64"}, "FF?? F? F??? ???F"},
		{kernelfacts.Names{Release: "5.10.0-14-amd64", Version: "#1 SMP Debian 5.10.113-1 (2022-04-29)"}, "FFAA F? A--- -AAA"},
		{kernelfacts.Names{Release: "5.10.0-15-amd64", Version: "#1 SMP Debian 5.10.120-1 (2022-06-09)"}, "FFAA F? F--- -AAA"},
		{kernelfacts.Names{Release: "5.10.0-8-rt"}, "FF?? F? ???? ????"},
		{kernelfacts.Names{Release: "6.1.0-0.deb11.21-amd64", Version: "#1 SMP PREEMPT_DYNAMIC Debian 6.1.90-1~bpo11+1 (2024-05-06)"}, "FFAA F? FA-- -AAF"},
		// A version of another branch is a compiler's, or nonsense.
		{kernelfacts.Names{Release: "5.10.0-14-amd64", Version: debian}, "FF?? F? ???? ????"},
		// Ubuntu names the stable version that it is built on.
		{kernelfacts.Names{Release: "6.8.0-45-generic", Signature: "Ubuntu 6.8.0-45.45-generic 6.8.12\n"}, "FF?? F? F??? ???F"},
		{kernelfacts.Names{Release: "6.8.0-45-generic", Version: "#45-Ubuntu SMP PREEMPT_DYNAMIC Fri Aug 30 12:02:04 UTC 2024"}, "FF?? F? F??? ???F"},
		{kernelfacts.Names{Release: "5.15.0-25-generic", Signature: "Ubuntu 5.15.0-25.25-generic 5.15.30"}, "FF?? F? ???? ????"},
		{kernelfacts.Names{Release: "5.15.0-43-generic", Signature: "Ubuntu 5.15.0-43.46-generic 5.15.45"}, "FF?? F? F??? ????"},
		// A bare number where the distribution keeps one for years.
		{kernelfacts.Names{Release: "5.14.0", Distribution: rhel}, "FF?? F? ???? ????"},
		{kernelfacts.Names{Release: "5.14.0"}, "FFAA FA A--- -AAA"},
		{kernelfacts.Names{Release: "6.12.83", Distribution: rhel}, "FFFF FF FFAF FFFF"},
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
		{"6.6.50", kernelfacts.FactClonedDropped, "affected since 6.6.48, no fix is known"},
		{"7.4.2", kernelfacts.FactClonedDropped, "not known for 7.4.2: it is known to be affected from 5.15.166, 6.1.107, 6.6.48, 6.10.7, 6.11"},
		{"6.9.0", "gre-clash-dropped", "probably: fixed in 6.5"},
		{"3.10.0-1160.125.1.el7.x86_64", kernelfacts.FactClashCrash, "probably: RHEL 7 is out of the fix's support scope, and no erratum was found up to 3.10.0-1160.119.1.el7"},
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
	ids := map[string]bool{}
	for _, f := range kernelfacts.Facts() {
		if ids[f.ID] {
			t.Errorf("%s is there twice", f.ID)
		}
		ids[f.ID] = true
		if len(f.Sources()) == 0 {
			t.Errorf("%s has no source", f.ID)
		}
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
}
