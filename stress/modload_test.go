package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"verdictd/internal/cli"
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

// Where modules cannot be loaded and unloaded nothing can be shown, and the reason is said: as here, as an ordinary
// user, and on a machine without loadable modules.
func TestModloadSaysWhyNot(t *testing.T) {
	if _, err := os.Stat("/proc/modules"); err == nil && os.Geteuid() == 0 {
		t.Log("this machine could run it for real; it is not to lose a module for a test")
		if got := stress("modload", "--protocol", "31"); got.status != cli.Failed ||
			!strings.Contains(got.stderr, "nothing can be shown here") {
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
