package kernelfacts_test

import (
	"context"
	"errors"
	"testing"

	"verdictd/internal/kernelfacts"
)

// FuzzChangelog reads arbitrary text as what rpm writes: it decides on faults of a kernel
// that its version leaves open, and never makes one known that the version settles.
func FuzzChangelog(f *testing.F) {
	f.Add("* Tue Sep 16 2025 Maker <maker@example.org> [5.14.0-570.44.1.el9_6]\n" +
		"- netfilter: nf_conntrack: fix crash due to removal of uninitialised entry (Somebody) [RHEL-103284] {CVE-2025-38472}\n" +
		"- [net] netfilter: conntrack: re-fetch conntrack after insertion (Somebody) [2101571] {CVE-2022-49561}\n")
	f.Add("- Revert \"netfilter: conntrack: re-fetch conntrack\n  after insertion\"\n")
	f.Add("package kernel-core-5.14.0 is not installed\n")
	const release = "5.14.0-570.44.1.el9_6.x86_64"
	names := kernelfacts.Names{Release: release}
	f.Fuzz(func(t *testing.T, text string) {
		log, err := kernelfacts.ReadChangelog(t.Context(), func(context.Context, string, ...string) ([]byte, error) { return []byte(text), nil }, release)
		if err != nil {
			return
		}
		b, err := kernelfacts.Identify(names)
		if err != nil {
			t.Fatal(err)
		}
		h := &kernelfacts.Host{Kernel: kernelfacts.Reading[kernelfacts.Build]{Value: b}, Changelog: kernelfacts.Reading[kernelfacts.Changelog]{Err: errors.New("none")}}
		before := kernelfacts.Assess(h)
		h.Changelog = kernelfacts.Reading[kernelfacts.Changelog]{Value: log}
		for i, found := range kernelfacts.Assess(h) {
			was := before[i].Status
			if (was == kernelfacts.Fixed || was == kernelfacts.NotAffected) && found.Status != was {
				t.Errorf("%s was %s, and %s by a changelog: %s", found.ID, was, found.Status, found.Reason)
			}
		}
	})
}
