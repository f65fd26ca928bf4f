package installed

import (
	"bytes"
	"context"
	"io"
	"regexp"

	"verdictd/internal/cli"
)

// A step is a promise, and what shows that it is kept.
type step struct {
	promise string
	make    func(context.Context) (string, error)
	needed  bool // nothing can be said without it
}

func (g *guest) steps() []step {
	return []step{
		{"systemd is up", g.boot, true},
		{"the package installs; nothing is started or enabled", g.install, true},
		{"the unit is exposed little", g.exposure, false},
		{"the service starts, enabled", g.start, true},
		{"a trial of what the machine manages", g.trial, true},
		{"the load, the reloads, restarts, kills and upgrades", g.underLoad, false},
		{"where no daemon comes back, packets go on, as on_failure says", g.giveUp, false},
		{"systemctl stop leaves no rules, queues or descriptors", g.stop, false},
		{"the C reference on libnetfilter_queue under the same load, which may lose what it will", g.reference, false},
		{"the guard starts and stops, and leaves nothing", g.guardUnit, false},
		{"removal stops the service, leaves nothing running, and keeps the configuration", g.remove, false},
		{"purge takes the configuration and the state", g.purge, false},
	}
}

// followed shows how far the guest is, by the lines that it writes.
type followed struct {
	shown  *cli.Progress
	lines  io.Writer
	steps  []step
	events int // that happen to the service, a line for each

	made, happened int
	rest           []byte
}

// follow passes the guest's lines on to w.
func (c *Config) follow(shown *cli.Progress, w io.Writer) *followed {
	f := &followed{shown: shown, lines: shown.Lines(w), steps: (&guest{}).steps(), events: c.Reloads + c.Restarts + c.Kills + c.Upgrades}
	if c.Reference != "" {
		f.events += c.Restarts + c.Kills
	}
	f.show()
	return f
}

// A line of the guest begins with the time. One that has made a step tells how; others tell what has happened.
var (
	madeLine     = regexp.MustCompile(`^ *[0-9.]+ s  (ok|FAIL)  `)
	happenedLine = regexp.MustCompile(`^ *[0-9.]+ s    `)
)

func (f *followed) Write(b []byte) (int, error) {
	f.rest = append(f.rest, b...)
	for {
		text, _, whole := bytes.Cut(f.rest, []byte("\n"))
		if !whole {
			return len(b), nil
		}
		line := f.rest[:len(text)+1]
		if _, err := f.lines.Write(line); err != nil {
			return 0, err
		}
		switch {
		case madeLine.Match(line):
			f.made++
		case happenedLine.Match(line):
			f.happened = min(f.happened+1, f.events)
		}
		f.rest = f.rest[len(line):]
		f.show()
	}
}

func (f *followed) show() {
	if f.made < len(f.steps) {
		f.shown.Step(f.made+f.happened+1, len(f.steps)+f.events, "%s", f.steps[f.made].promise)
	}
}
