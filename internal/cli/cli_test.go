package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

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

// TestValues: what a flag cannot take is refused with what to write instead.
func TestValues(t *testing.T) {
	var flags struct {
		Time time.Duration
		To   netip.Addr
		Port uint16
		N    uint32
	}
	for args, want := range map[string]string{
		"--time 5":           `--time: "5" lacks its unit: write 5s for seconds`,
		"--time soon":        `"soon" is no time: write one such as 500ms`,
		"--to localhost":     `"localhost" is no IP address: write one such as 192.0.2.1`,
		"--to 192.0.2.1:53":  "without a port",
		"--port 70000":       `--port: "70000" is no whole number from 0 to 65535`,
		"--port=-1":          "from 0 to 65535",
		"--n 4294967296":     "from 0 to 4294967295",
		"--time":             "--time",
		"--time 1h --port x": "--port",
	} {
		var stderr bytes.Buffer
		p := Program{Name: "program", Commands: &flags}
		if status := p.Run(strings.Fields(args), io.Discard, &stderr); status != Usage || !strings.Contains(stderr.String(), want) {
			t.Errorf("%s: status %d, %q, want %q", args, status, stderr.String(), want)
		}
	}
	parser, err := kong.New(&flags, values...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(strings.Fields("--time 1m30s --to 2001:db8::1 --port 53 --n 0x10")); err != nil {
		t.Fatal(err)
	}
	if flags.Time != 90*time.Second || flags.To != netip.MustParseAddr("2001:db8::1") || flags.Port != 53 || flags.N != 16 {
		t.Errorf("%+v", flags)
	}
}

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

// TestParseRunsNothing: a line is looked at with all its values, by what looks at them before a run.
func TestParseRunsNothing(t *testing.T) {
	type flags struct {
		Go struct {
			Time time.Duration `not:"how"`
			How  string        `enum:"well,badly" default:"well"`
		} `cmd:""`
	}
	for args, status := range map[string]int{
		"--parse go": Done, "--parse go --time 5s": Done, "go --how badly --parse": Done,
		"--parse": Usage, "--parse go --time 5": Usage, "--parse go --how soon": Usage, "--parse go --nosuch": Usage,
		"--parse go --time 5s --how well": Usage,
	} {
		p := Program{Name: "program", Commands: &flags{}}
		if got := p.Run(strings.Fields(args), io.Discard, io.Discard); got != status {
			t.Errorf("%s: status %d, want %d", args, got, status)
		}
	}
}
