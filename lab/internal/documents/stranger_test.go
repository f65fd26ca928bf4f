package documents

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// first are the first commands of each tool in README.md: what a stranger types who wants to see something, and what he
// is shown, as root and as somebody who may do nothing.
var first = []struct {
	program, line string
	root, anybody *regexp.Regexp
	fails         bool // as anybody
}{
	{
		program: "verdictd", line: "make build && sudo bin/verdictd audit",
		root: regexp.MustCompile(`^(Not exposed|Exposed|Unknown|Guarded)\b`), anybody: regexp.MustCompile(`^Unknown: .*(?s:.*)CAP_NET_ADMIN`), fails: true,
	},
	{
		program: "conntrackwatch", line: "sudo bin/conntrackwatch stats --once",
		root: regexp.MustCompile(`insert_failed +\d`), anybody: regexp.MustCompile(`CAP_NET_ADMIN is needed.*sudo`), fails: true,
	},
	{
		program: "stress", line: "bin/stress clash --topology loopback",
		root: regexp.MustCompile(`clashes +[1-9]`), anybody: regexp.MustCompile(`clashes +[1-9]`),
	},
}

// TestFirstCommands: the README's first command of each tool is the one that strangers are thought of for, and it has
// one of each but lab, whose is make demo.
func TestFirstCommands(t *testing.T) {
	commands := read(t, filepath.Join(root, "README.md"))
	for _, f := range first {
		i := slices.IndexFunc(commands, func(c command) bool { return strings.Contains(c.text, "bin/"+f.program+" ") })
		if i < 0 || commands[i].text != f.line {
			t.Errorf("README.md does not begin with `%s` of %s", f.line, f.program)
		}
	}
}

// strangers runs them.
func (s *shell) strangers(t *testing.T) {
	t.Helper()
	for _, f := range first {
		cmd, output := s.command(t.Context(), f.line)
		if err := cmd.Run(); err != nil || !f.root.MatchString(output.String()) {
			t.Errorf("`%s` as root: %v\n%s\nwant %s", f.line, err, output, f.root)
		}
		cmd, output = s.command(t.Context(), f.line)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: anybody, Gid: anybody}}
		err := cmd.Run()
		if cmd.Process == nil {
			t.Logf("an ordinary user's test has nobody else to be: %v", err)
			return
		}
		if (err != nil) != f.fails || !f.anybody.MatchString(output.String()) {
			t.Errorf("`%s` as anybody: %v\n%s\nwant %s", f.line, err, output, f.anybody)
		}
	}
}

// anybody is a user without an account.
const anybody = 64320
