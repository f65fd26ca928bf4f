package failure

import (
	"strings"
	"testing"
	"time"

	"verdictd/daemon/internal/guard"
	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// TestRulesOfOthers: what a unit's daemon has left behind does not take rules away that another one needs, be it in the
// same namespace or, under the same name, in the one that the unit's command is in.
func TestRulesOfOthers(t *testing.T) {
	testkit.Namespace(t)
	here := netlab.Number()
	plan := Plan{OnFailure: vocabulary.FailAccept, LongestWait: time.Second, Table: "unit", Queues: 1}
	t.Setenv("RUNTIME_DIRECTORY", t.TempDir())
	t.Setenv("SERVICE_RESULT", "exit-code")
	t.Setenv("EXIT_STATUS", "78")
	installUnit(t)
	refused := func(why string) {
		t.Helper()
		if err := Remember(plan); err != nil {
			t.Fatal(err)
		}
		if err := AfterUnit(discard, unfenced); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("error %v, want one with %q", err, why)
		}
		if !unitTable(t) {
			t.Fatalf("the rules are gone, in spite of %q", why)
		}
	}
	claimed, err := guard.Claim("unit")
	if err != nil {
		t.Fatal(err)
	}
	refused("another verdictd has table inet unit")
	if err := claimed.Close(); err != nil {
		t.Fatal(err)
	}
	for _, plan.OnFailure = range []vocabulary.OnFailure{vocabulary.FailAccept, vocabulary.FailDrop} {
		plan.NetNS = here + 1
		refused("--netns")
	}
	plan.OnFailure, plan.NetNS = vocabulary.FailAccept, here
	if err := Remember(plan); err != nil {
		t.Fatal(err)
	}
	if err := AfterUnit(discard, unfenced); err != nil || unitTable(t) {
		t.Errorf("nobody else needs the rules: %v", err)
	}
	if claimed, err = guard.Claim("unit"); err != nil {
		t.Errorf("a next daemon: %v", err)
	} else if err := claimed.Close(); err != nil {
		t.Error(err)
	}
}
