package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"verdictd/internal/cli"
	"verdictd/internal/kernelfacts"
	"verdictd/stress/internal/modrace"
)

func TestModloadUsage(t *testing.T) {
	for args, want := range map[string]string{
		"modload": "--protocol",
		"modload --protocol xfrm --subsystem queue":  "can't be used together",
		"modload --protocol ipsec":                   "0 to 31",
		"modload --subsystem ipset":                  "give one of queue",
		"modload --protocol xfrm --threads 0":        "threads 0",
		"modload --protocol xfrm --rounds 0":         "rounds 0",
		"modload --protocol xfrm --strategy careful": "modules-first",
	} {
		refused(t, want, strings.Fields(args)...)
	}
}

// Where modules cannot be loaded and unloaded nothing can be shown, and the reason is said: as here, as an ordinary user, and on a
// machine without loadable modules.
func TestModloadSaysWhyNot(t *testing.T) {
	if _, err := os.Stat("/proc/modules"); err == nil && os.Geteuid() == 0 {
		t.Log("this machine could run it for real; it is not to lose a module for a test")
		if got := stress("modload", "--protocol", "31"); got.status != cli.Failed || !strings.Contains(got.stderr, "nothing can be shown here") {
			t.Errorf("%+v", got)
		}
		return
	}
	path := filepath.Join(t.TempDir(), "result.json")
	got := stress("modload", "--protocol", "xfrm", "--json", path)
	if got.status != cli.Failed || !strings.Contains(got.stderr, "nothing can be shown here: ") || got.stdout != "" {
		t.Errorf("%+v", got)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a result file was made of nothing")
	}
}

func TestModloadSummary(t *testing.T) {
	res := &modrace.Result{
		Config:   modrace.Config{Part: "xfrm", Alias: "net-pf-16-proto-6", Module: "xfrm_user", Threads: 8, Rounds: 100, Strategy: modrace.Naive},
		Modprobe: "/sbin/modprobe", Kmod: "kmod version 18", KmodRace: kernelfacts.Affected,
		Rounds: 100, Opened: 790, Failed: 10, Errors: map[string]uint64{"EPROTONOSUPPORT": 9, "EINVAL": 1}, FailedRounds: 5, FirstFailure: 7, StartErrors: 1,
	}
	var b bytes.Buffer
	if err := summarizeModload(&b, res); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"net-pf-16-proto-6, module xfrm_user", "(kmod version 18); the race of kmod up to 19: affected", "790 succeeded, 10 failed",
		"1 EINVAL, 9 EPROTONOSUPPORT, in 5 rounds, first in round 7", "gave up",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in:\n%s", want, &b)
		}
	}
}
