package liverules

import (
	"os/exec"
	"strings"
	"testing"

	"verdictd/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// run runs a program in the calling thread's namespace, with the lines of input
// as its standard input.
func run(t *testing.T, input string, name string, arguments ...string) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("no %s on this machine: %v", name, err)
	}
	cmd := exec.Command(path, arguments...)
	// Without root's lock file, which an ordinary user cannot open.
	cmd.Env = append(cmd.Environ(), "XTABLES_LOCKFILE="+t.TempDir()+"/lock")
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(arguments, " "), err, input, out)
	}
}

// commands runs one command a line.
func commands(t *testing.T, lines string) {
	t.Helper()
	for line := range strings.Lines(lines) {
		if words := strings.Fields(line); len(words) > 0 {
			run(t, "", words[0], words[1:]...)
		}
	}
}

// read reads the rules, all of them.
func read(t *testing.T) *Rules {
	t.Helper()
	rules, err := Read()
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range rules.Unread {
		t.Errorf("unread: %v", u)
	}
	return rules
}
