package vm

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The oracle is the dynamic loader itself.
func TestLibraries(t *testing.T) {
	shell, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal(err)
	}
	found, err := libraries(shell)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, l := range found {
		names = append(names, filepath.Base(l.guest))
	}
	out, err := exec.Command("ldd", shell).Output()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(out)) {
		name := filepath.Base(strings.Fields(line)[0])
		if strings.HasPrefix(name, "linux-vdso") {
			continue
		}
		n++
		if !slices.Contains(names, name) {
			t.Errorf("%s is not among %v", name, names)
		}
	}
	if n < 2 || len(found) != n {
		t.Errorf("%d libraries, and ldd says %d", len(found), n)
	}
}

func TestLibrariesOfOthers(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if found, err := libraries(script); err != nil || len(found) != 0 {
		t.Errorf("a script: %v, %v", found, err)
	}
	if _, err := libraries("/does/not/exist"); err == nil {
		t.Error("no error for a program that does not exist")
	}
}

func TestLibraryConfiguration(t *testing.T) {
	dir := t.TempDir()
	conf := filepath.Join(dir, "ld.so.conf")
	for name, text := range map[string]string{
		"ld.so.conf": "# comment\n/first\ninclude conf.d/*.conf\n", "conf.d/a.conf": "/second # why\n",
		"conf.d/b.conf": "include " + conf + "\n/third\n",
	} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got := configured(conf, 0) // b.conf includes its includer: that has an end
	for _, want := range []string{"/first", "/second", "/third"} {
		if !slices.Contains(got, want) {
			t.Errorf("%v has no %s", got, want)
		}
	}
}
