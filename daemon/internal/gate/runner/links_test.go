package runner

import (
	"os/exec"
	"strings"
	"testing"

	"verdictd/internal/testkit"
)

// TestLinks: what waits in queues is uncertain for a moment after a device went
// down or away, and not when one comes or changes otherwise.
func TestLinks(t *testing.T) {
	testkit.Namespace(t)
	l, err := openLinks()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.close() }()
	now := int64(1)
	for _, step := range []struct {
		command string
		unrest  bool
	}{
		{"link add a0 type veth peer name a1", false},
		{"link set a0 up", false},
		{"link set a0 mtu 1400", false},
		{"link set a0 down", true},
		{"link set a0 up", false},
		{"link del a0", true},
	} {
		if out, err := exec.Command("ip", strings.Fields(step.command)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", step.command, err, out)
		}
		if got := l.unrest(now); got != step.unrest {
			t.Errorf("after ip %s: unrest %v, want %v", step.command, got, step.unrest)
		}
		if now += unrest; l.unrest(now) {
			t.Errorf("after ip %s: unrest for longer than %d ns", step.command, unrest)
		}
	}
}
