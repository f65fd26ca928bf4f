package kernelfacts_test

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"verdictd/internal/kernelfacts"
)

var errNoRPM = errors.New("rpm: executable file not found in $PATH")

// rpm is a recorded package database: package name or file to changelog.
func rpm(packages map[string]string) kernelfacts.Runner {
	return func(_ context.Context, name string, args ...string) ([]byte, error) {
		text, ok := packages[args[len(args)-1]]
		if name != "rpm" || !ok {
			return nil, fmt.Errorf("%s: exit status 1: package %s is not installed", name, args[len(args)-1])
		}
		return []byte(text), nil
	}
}

// Cut from the changelogs of RHEL-like kernels, with the fold of SUSE's.
const (
	el9Log = `* Tue Aug 30 2022 Patrick Talbert <ptalbert@redhat.com> [5.14.0-160.el9]
- netfilter: conntrack: re-fetch conntrack after insertion (Florian Westphal) [2120635]
- netfilter: nf_conntrack: fix crash due to removal of uninitialised
  entry (CVE-2025-38472 bsc#1247313)

* Mon Aug 29 2022 Patrick Talbert <ptalbert@redhat.com> [5.14.0-159.el9]
- x86/kvm: Alloc dummy async #PF token outside of raw spinlock (CKI Backport Bot) [2120635]
`
	causeLog = `* Mon Nov 4 2024 Rado Vrbovsky <rvrbovsk@redhat.com> [5.14.0-523.el9]
- netfilter: nf_queue: drop packets with cloned unconfirmed conntracks (Florian Westphal) [RHEL-1]
`
	revertLog = `* Tue Aug 30 2022 X <x@example.com> [5.14.0-161.el9]
- Revert "netfilter: conntrack: re-fetch conntrack after insertion" (Nobody) [1]
- netfilter: conntrack: re-fetch conntrack after insertion (Florian Westphal) [2120635]
`
	cveLog = `* Tue Aug 30 2022 X <x@example.com> [5.14.0-161.el9]
- [net] netfilter: something else (Nobody) [1] {CVE-2022-495610}
- [net] netfilter: backported under another name (Nobody) [1] {CVE-2022-49561}
- [net] xt_CT: drop pending packets (Nobody) [1] {CVE-2026-23391}
`
)

func TestChangelogSettlesWhatTheVersionLeavesOpen(t *testing.T) {
	const el9, el7, suse = "5.14.0-427.el9.x86_64", "3.10.0-1160.el7.x86_64", "5.14.21-150500.55.7-default"
	for _, c := range []struct{ release, pkg, log, want string }{
		{el9, "kernel-core-" + el9, el9Log, "FF?? F? FFAA ???F"},
		{el9, "/boot/vmlinuz-" + el9, el9Log, "FF?? F? FFAA ???F"},
		// The cause without the fix, for both faults that it brings.
		{suse, "/boot/vmlinuz-" + suse, causeLog, "FF?? F? ??AA ????"},
		{el9, "kernel-core-" + el9, revertLog, "FF?? F? ??AA ???F"},
		// One CVE of a row that has two settles nothing.
		{el9, "kernel-core-" + el9, cveLog, "FF?? F? F?AA ???F"},
		// A changelog overrules "affected", never "fixed".
		{el7, "kernel-" + el7, cveLog, "F?-- ?? F?-- ???-"},
		{"4.18.0-425.3.1.el8.x86_64", "kernel-core-4.18.0-425.3.1.el8.x86_64", revertLog, "F??? ?? F?-- ???F"},
		{"6.11.4-301.fc41.x86_64", "kernel-core-6.11.4-301.fc41.x86_64", el9Log, "FFAA F? FFAA -AAF"},
	} {
		h := hostOf(t, kernelfacts.Names{Release: c.release})
		log, err := kernelfacts.ReadChangelog(t.Context(), rpm(map[string]string{c.pkg: c.log}), c.release)
		if err != nil {
			t.Errorf("%s: %v", c.release, err)
		}
		h.Changelog = kernelfacts.Reading[kernelfacts.Changelog]{Value: log}
		if got := pattern(kernelfacts.Assess(h)); got != c.want || log.Package != c.pkg {
			t.Errorf("%s with the changelog of %s\n got %s\nwant %s\nof\n%s", c.release, log.Package, got, c.want, c.log)
		}
	}
}

func TestChangelogSaysWhyItIsMissing(t *testing.T) {
	_, err := kernelfacts.ReadChangelog(t.Context(), rpm(nil), "6.1.0")
	for _, want := range []string{"kernel-core-6.1.0", "kernel-6.1.0", "/boot/vmlinuz-6.1.0", "is not installed"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %s: %v", want, err)
		}
	}
	asked := 0
	_, err = kernelfacts.ReadChangelog(t.Context(), func(context.Context, string, ...string) ([]byte, error) {
		asked++
		return nil, fmt.Errorf("rpm: %w", exec.ErrNotFound)
	}, "6.1.0")
	if !errors.Is(err, kernelfacts.ErrNoPackages) || asked != 1 {
		t.Errorf("asked %d times where there is no rpm: %v", asked, err)
	}
	// On a machine whose packages are others'.
	if _, err = kernelfacts.ReadChangelog(t.Context(), rpm(map[string]string{"rpm": ""}), "6.1.0"); !errors.Is(err, kernelfacts.ErrNoPackages) {
		t.Errorf("rpm has installed nothing: %v", err)
	}
	_, err = kernelfacts.ReadChangelog(t.Context(), rpm(map[string]string{"rpm": "rpm-4.16.1\n"}), "6.1.0")
	if err == nil || errors.Is(err, kernelfacts.ErrNoPackages) || strings.Contains(err.Error(), "\n") {
		t.Errorf("rpm has installed another kernel: %q", err)
	}
	if _, err = kernelfacts.ReadChangelog(t.Context(), rpm(map[string]string{"kernel-6.1.0": "\n"}), "6.1.0"); err == nil {
		t.Error("an empty changelog was taken for one")
	}
}

func TestRunIsBounded(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := kernelfacts.Run(ctx, "sleep", "60")
	if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took > 20*time.Second {
		t.Errorf("after %v: %v", took, err)
	}
	if out, err := kernelfacts.Run(t.Context(), "echo", "x"); err != nil || string(out) != "x\n" {
		t.Errorf("echo: %q, %v", out, err)
	}
	if _, err := kernelfacts.Run(t.Context(), "sh", "-c", "echo no such package; exit 1"); err == nil || !strings.Contains(err.Error(), "no such package") {
		t.Errorf("the program's words are lost: %v", err)
	}
	_, err = kernelfacts.Run(t.Context(), "sh", "-c", "echo one; echo; echo ' two' >&2; exit 3")
	if err == nil || err.Error() != "sh: exit status 3: two; one" {
		t.Errorf("several lines became %q", err)
	}
	if _, err := kernelfacts.Run(t.Context(), "head", "-c", "80000000", "/dev/zero"); err == nil {
		t.Error("output without end was taken")
	}
	if _, err := kernelfacts.Run(t.Context(), "no-such-program-at-all"); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("a missing program: %v", err)
	}
}
