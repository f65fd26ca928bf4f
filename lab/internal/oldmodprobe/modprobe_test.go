package oldmodprobe

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// machine has modules top, which needs bottom, and says what was inserted.
func machine(t *testing.T) (system, *[]string) {
	t.Helper()
	root := t.TempDir()
	for name, text := range map[string]string{
		"modules.dep":     "kernel/top.ko: kernel/bottom.ko\nkernel/bottom.ko:\n",
		"modules.alias":   "# comment\nalias net-pf-16-proto-6 top\n",
		"modules.builtin": "kernel/inside.ko\n",
	} {
		name = filepath.Join(root, "lib/modules/6.9", name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	inserted := &[]string{}
	return system{root: root, release: "6.9", insert: func(file string) error {
		name := strings.TrimSuffix(filepath.Base(file), ".ko")
		*inserted = append(*inserted, name)
		return nil
	}}, inserted
}

// initstate makes a module's folder below /sys, with the file in it if it has a state.
func initstate(t *testing.T, s system, name, state string) {
	t.Helper()
	folder := filepath.Join(s.root, "sys/module", name)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if state == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(folder, "initstate"), []byte(state+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestModprobe(t *testing.T) {
	for _, test := range []struct {
		name, args string
		states     map[string]string
		want       string
		fails      bool
	}{
		{"by alias", "-q -- net-pf-16-proto-6", nil, "bottom top", false},
		{"by name", "top", nil, "bottom top", false},
		{"loaded", "-q -- top", map[string]string{"top": "live"}, "", false},
		{"what it needs is loaded", "-q -- top", map[string]string{"bottom": "live"}, "top", false},
		{"is being loaded", "-q -- top", map[string]string{"bottom": "live", "top": "coming"}, "top", false},
		{"the race", "-q -- top", map[string]string{"bottom": "live", "top": ""}, "", false},
		{"the race of what it needs", "-q -- top", map[string]string{"bottom": ""}, "top", false},
		{"built in", "-q -- inside", nil, "", false},
		{"unknown", "-q -- nothing", nil, "", true},
		{"an option that the kernel does not give", "-r top", nil, "", true},
		{"none", "-q --", nil, "", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, inserted := machine(t)
			for name, state := range test.states {
				initstate(t, s, name, state)
			}
			err := modprobe(s, strings.Fields(test.args), &strings.Builder{})
			if (err != nil) != test.fails || !slices.Equal(*inserted, strings.Fields(test.want)) {
				t.Errorf("inserted %v, %v; want %s, failure %v", *inserted, err, test.want, test.fails)
			}
		})
	}
}

func TestSomebodyElseWasFaster(t *testing.T) {
	s, _ := machine(t)
	s.insert = func(string) error { return unix.EEXIST }
	if err := modprobe(s, []string{"top"}, &strings.Builder{}); err != nil {
		t.Error(err)
	}
	s.insert = func(string) error { return unix.ENOEXEC }
	if err := modprobe(s, []string{"top"}, &strings.Builder{}); err == nil {
		t.Error("a module that cannot be inserted is no error")
	}
}

func TestVersion(t *testing.T) {
	s, inserted := machine(t)
	var out strings.Builder
	if err := modprobe(s, []string{"--version"}, &out); err != nil || out.String() != Version+"\n" ||
		len(*inserted) != 0 {
		t.Errorf("%q, %v, inserted %v", out.String(), err, *inserted)
	}
}
