package structure

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// units are the files in systemd/.
func units(t *testing.T) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(root, "systemd", "*.service"))
	if err != nil || len(names) < 2 {
		t.Fatalf("units %q (%v), want the daemon's and the guard's", names, err)
	}
	texts := map[string][]byte{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		texts[filepath.Base(name)] = text
	}
	return texts
}

// TestUnitIsAccepted asks systemd itself. It wants the program to exist, so a
// copy of the unit names one that does.
func TestUnitIsAccepted(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skipf("no systemd-analyze: %v", err)
	}
	for unit, text := range units(t) {
		t.Run(unit, func(t *testing.T) {
			copied := filepath.Join(t.TempDir(), unit)
			if err := os.WriteFile(copied, bytes.ReplaceAll(text, []byte("/usr/bin/verdictd"), []byte("/bin/true")), 0o644); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command(analyze, "verify", "--man=no", copied).CombinedOutput()
			// Unknown keys and values are warnings to systemd, on which it goes on.
			if err != nil || len(bytes.TrimSpace(out)) > 0 {
				t.Errorf("systemd-analyze verify: %v\n%s", err, out)
			}
		})
	}
}

func TestUnitRunsCommandsThatExist(t *testing.T) {
	c := checker{help: helpOf(t)}
	for unit, text := range units(t) {
		commands := regexp.MustCompile(`(?m)^Exec.*?/usr/bin/(verdictd [^'\n]*)`).FindAllSubmatch(text, -1)
		if len(commands) == 0 {
			t.Errorf("%s runs no verdictd", unit)
		}
		for _, m := range commands {
			if err := c.check(string(m[1])); err != nil {
				t.Errorf("%s: `%s`: %v", unit, m[1], err)
			}
		}
	}
}

// TestUnitsHaveTheSameFences: what keeps the daemon from what it does not need
// keeps the guard from it, but for one system call that pins threads.
func TestUnitsHaveTheSameFences(t *testing.T) {
	fences := func(text []byte) (lines []string) {
		for _, m := range regexp.MustCompile(`(?m)^(?:Protect|Private|Restrict|System|NoNew|Lock|Memory|Remove|Device|Ambient|Capability|Supplementary|DynamicUser|UMask)\w*=.*`).FindAll(text, -1) {
			if line := string(m); line != "SystemCallFilter=sched_setaffinity" {
				lines = append(lines, line)
			}
		}
		return lines
	}
	all := units(t)
	daemon, guard := fences(all["verdictd.service"]), fences(all["verdictd-guard.service"])
	if len(daemon) < 20 || !slices.Equal(daemon, guard) {
		t.Errorf("verdictd.service has %q,\nverdictd-guard.service has %q", daemon, guard)
	}
}
