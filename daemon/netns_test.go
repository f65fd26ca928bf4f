package main

import (
	"os"
	"path/filepath"
	"testing"

	"verdictd/internal/netlab"
	"verdictd/internal/ruleset"
	"verdictd/internal/testkit"
)

// TestOtherNamespace: --netns stands before or behind a command's name, and has all of it work there.
func TestOtherNamespace(t *testing.T) {
	testkit.Namespace(t)
	other, err := netlab.NewNetNS()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	file := filepath.Join(t.TempDir(), "verdictd.yaml")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	exists := func() (here, there bool) {
		err := other.Do(func() (err error) { there, err = ruleset.Exists("verdictd"); return err })
		if err == nil {
			here, err = ruleset.Exists("verdictd")
		}
		if err != nil {
			t.Fatal(err)
		}
		return here, there
	}
	if status, out, problems := owned(t, "rules", "apply", "--netns", other.Path(), "--config", file); status != 0 {
		t.Fatalf("exit status %d: %s%s", status, out, problems)
	}
	if here, there := exists(); here || !there {
		t.Errorf("rules here: %v, there: %v", here, there)
	}
	if status, out, problems := owned(t, "--netns", other.Path(), "rules", "remove", "--config", file); status != 0 {
		t.Fatalf("exit status %d: %s%s", status, out, problems)
	}
	if here, there := exists(); here || there {
		t.Errorf("rules here: %v, there: %v", here, there)
	}
	for _, name := range []string{"no-such-namespace", "/proc/self/status", file} {
		if status, _, problems := owned(t, "rules", "show", "--netns", name, "--config", file); status == 0 || problems == "" {
			t.Errorf("%s: exit status %d", name, status)
		}
	}
}
