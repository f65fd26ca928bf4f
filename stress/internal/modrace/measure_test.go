package modrace

import (
	"bytes"
	"strings"
	"testing"

	"verdictd/internal/kernelfacts"
	"verdictd/internal/results"
)

func TestSummary(t *testing.T) {
	res := &results.Modload{
		Config: results.ModloadConfig{Part: "xfrm", Alias: "net-pf-16-proto-6", Module: "xfrm_user", Threads: 8,
			Rounds: 100, Strategy: string(Naive)},
		Modprobe: "/sbin/modprobe", Kmod: "kmod version 18", KmodRace: kernelfacts.Affected,
		Rounds: 100, Opened: 790, Failed: 10, Errors: map[string]uint64{"EPROTONOSUPPORT": 9, "EINVAL": 1}, FailedRounds: 5,
		FirstFailure: 7, StartErrors: 1,
	}
	var b bytes.Buffer
	if err := summarize(&b, res); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"net-pf-16-proto-6, module xfrm_user", "(kmod version 18); the race of kmod up to 19: affected",
		"790 succeeded, 10 failed",
		"1 EINVAL, 9 EPROTONOSUPPORT, in 5 rounds, first in round 7", "gave up",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in:\n%s", want, &b)
		}
	}
}
