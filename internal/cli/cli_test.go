package cli

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

type commands struct {
	Version kong.VersionFlag `help:"Print the version."`
	End     endCommand       `cmd:""`
}

type endCommand struct {
	How string `arg:""`
}

func (e *endCommand) Run(ends map[string]error) error { return ends[e.How] }

func TestStatuses(t *testing.T) {
	ends := map[string]error{
		"badly": errors.New("broken"), "wrongly": fmt.Errorf("%w: --x and --y", ErrUsage),
		"listed": errors.Join(ErrListed, errors.New("f:1:2: no")), "reported": ErrReported, "passed": ExitStatus(7),
	}
	for _, test := range []struct {
		args           string
		status         int
		stdout, stderr string // part of it; empty: nothing is printed
	}{
		{"end well", Done, "", ""},
		{"end badly", Failed, "", "program: broken\n"},
		{"end wrongly", Usage, "", "--x and --y"},
		{"end listed", Configuration, "", "\nf:1:2: no"},
		{"end reported", Failed, "", ""},
		{"end passed", 7, "", ""},
		{"fly", Usage, "", "see program --help"},
		{"--version", Done, "program 1.2", ""},
		{"--help", Done, "Usage: program", ""},
		{"--describe", Done, `"name": "end",`, ""},
		{"end --describe", Done, `"name": "end",`, ""},
	} {
		var stdout, stderr bytes.Buffer
		p := Program{Name: "program", Description: "Does it.", Version: "1.2", Commands: &commands{}}
		status := p.Run(strings.Fields(test.args), &stdout, &stderr, kong.Bind(ends))
		if status != test.status {
			t.Errorf("%s: status %d, want %d", test.args, status, test.status)
		}
		for _, o := range []struct{ what, got, want string }{{"stdout", stdout.String(), test.stdout}, {"stderr", stderr.String(), test.stderr}} {
			if !strings.Contains(o.got, o.want) || (o.want == "") != (o.got == "") {
				t.Errorf("%s: %s %q, want %q", test.args, o.what, o.got, o.want)
			}
		}
	}
}
