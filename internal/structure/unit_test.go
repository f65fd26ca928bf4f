package structure

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

const (
	unit     = "verdictd.service"
	unitPath = root + "/systemd/" + unit
)

// TestUnitIsAccepted asks systemd itself. It wants the program to exist, so a
// copy of the unit names one that does.
func TestUnitIsAccepted(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skipf("no systemd-analyze: %v", err)
	}
	text, err := os.ReadFile(unitPath)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), unit)
	if err := os.WriteFile(copied, bytes.ReplaceAll(text, []byte("/usr/bin/verdictd"), []byte("/bin/true")), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(analyze, "verify", "--man=no", copied).CombinedOutput()
	// Unknown keys and values are warnings to systemd, on which it goes on.
	if err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

func TestUnitRunsCommandsThatExist(t *testing.T) {
	text, err := os.ReadFile(unitPath)
	if err != nil {
		t.Fatal(err)
	}
	commands := regexp.MustCompile(`(?m)^Exec.*?/usr/bin/(verdictd [^'\n]*)`).FindAllSubmatch(text, -1)
	if len(commands) == 0 {
		t.Fatal("the unit runs no verdictd")
	}
	c := checker{help: helpOf(t)}
	for _, m := range commands {
		if err := c.check(string(m[1])); err != nil {
			t.Errorf("`%s`: %v", m[1], err)
		}
	}
}
