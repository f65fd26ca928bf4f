package testkit

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// Commands checks all commands and flags of a program by what it tells of them (--describe), so that a new one is
// checked as it comes: that its help says what it takes and what happens without it, that a wrong value is refused with
// a word of what is right before anything is done, and that flags which exclude each other are. run is the program; it
// returns the exit status and all that was printed.
func Commands(t *testing.T, run func(args ...string) (status int, output string)) {
	t.Helper()
	_, output := run("--describe")
	var root commandLine
	if err := json.Unmarshal([]byte(output), &root); err != nil {
		t.Fatalf("--describe: %v in %s", err, output)
	}
	w := walk{t: t, run: run, seen: map[string]bool{}}
	w.command(&root, nil, nil)
	if len(w.seen) == 0 {
		t.Error("no flag was seen")
	}
}

// commandLine is what --describe writes of a command.
type commandLine struct {
	Name, Help string
	Arguments  []struct {
		Name, Help string
		Required   bool
	}
	Flags    []commandFlag
	Commands []commandLine
}

type commandFlag struct {
	Name, Help, Value, Kind, Default string
	Required, File                   bool
	Values                           []string
}

// usage is the exit status of a wrong command line.
const usage = 64

type walk struct {
	t    *testing.T
	run  func(args ...string) (int, string)
	seen map[string]bool // flags by the path of their command
}

// command is one at a path, with the flags of those above it.
func (w *walk) command(c *commandLine, path []string, above []commandFlag) {
	for _, f := range c.Flags {
		w.help(strings.Join(path, " "), f)
	}
	flags := append(slices.Clone(above), c.Flags...)
	if len(c.Commands) > 0 {
		var names []string
		for i := range c.Commands {
			names = append(names, c.Commands[i].Name)
		}
		w.refused(names, append(path, "zzz")...)
		for i := range c.Commands {
			w.command(&c.Commands[i], append(slices.Clone(path), c.Commands[i].Name), flags)
		}
		return
	}
	for _, f := range flags {
		owner := strings.Join(path, " ") + " --" + f.Name
		if slices.ContainsFunc(above, func(o commandFlag) bool { return o.Name == f.Name }) {
			owner = "--" + f.Name // once, and not with each command
		}
		if !w.seen[owner] {
			w.seen[owner] = true
			w.flag(c, path, flags, f)
		}
	}
}

// help checks the words about a flag.
func (w *walk) help(path string, f commandFlag) {
	w.t.Helper()
	bad := func(what string) { w.t.Errorf("%s --%s: %s: %s", path, f.Name, what, f.Help) }
	if !strings.HasSuffix(f.Help, ".") || strings.Contains(f.Help, "..") {
		bad("no sentence")
	}
	for _, v := range f.Values {
		if !strings.Contains(f.Help, v) {
			bad("without the value " + v)
		}
	}
	if f.Value == "" || f.Required {
		return
	}
	if without := strings.Contains(f.Help, "Default: ") || strings.Contains(f.Help, "Without it"); !without && (f.Kind != "" || f.Values != nil) {
		bad("without a default, or what is without it")
	}
	if f.Kind == "time" && f.Default == "" && !strings.Contains(f.Help, "such as") {
		bad("without the form of a time")
	}
}

// flag gives wrong values to one.
func (w *walk) flag(c *commandLine, path []string, flags []commandFlag, f commandFlag) {
	w.t.Helper()
	base := needed(c, flags, f.Name)
	wrong := func(value string, words ...string) {
		w.refused(append(words, "--"+f.Name, value), append(append(slices.Clone(path), "--"+f.Name+"="+value), base...)...)
	}
	switch f.Kind {
	case "time":
		wrong("5", "unit")
		wrong("soon", "such as")
		wrong("-1s", "below 0")
		if f.Name == "interval" {
			wrong("1ns", "or more")
		}
	case "number":
		wrong("many", "number")
		wrong("-1", "number")
	case "address":
		wrong("localhost", "such as")
		wrong("192.0.2.1:53", "without a port")
	}
	if f.Values != nil {
		wrong("zzz", f.Values...)
	}
	if strings.HasSuffix(f.Name, "netns") && f.Value != "" {
		args := append(append(slices.Clone(path), "--"+f.Name+"=nosuch"), base...)
		for _, other := range flags {
			if other.Name == "target" || other.Name == "source" {
				args = append(args, right(other)) // who names namespaces names addresses in them
			}
		}
		if status, output := w.run(args...); status == 0 || !strings.Contains(output, "ip netns list") {
			w.t.Errorf("%v: status %d: %s", args, status, output)
		}
	}
	_, list, _ := strings.Cut(f.Help, "Not with ")
	list, _, _ = strings.Cut(list, ".")
	for other := range strings.SplitSeq(list, ", ") {
		if at := slices.IndexFunc(flags, func(o commandFlag) bool { return "--"+o.Name == other }); at >= 0 && flags[at].Name > f.Name {
			args := append(append(slices.Clone(path), right(f), right(flags[at])), needed(c, flags, f.Name, flags[at].Name)...)
			w.refused([]string{other, "--" + f.Name}, args...)
		}
	}
}

// needed are the arguments and flags that a command does not run without, but for those that are given anyhow.
func needed(c *commandLine, flags []commandFlag, given ...string) (args []string) {
	for _, f := range flags {
		if f.Required && !slices.Contains(given, f.Name) && !strings.Contains(f.Help, "Not with") {
			args = append(args, right(f))
		}
	}
	for _, a := range c.Arguments {
		if a.Required {
			args = append(args, "x")
		}
	}
	return args
}

// right is a flag with a value that it takes.
func right(f commandFlag) string {
	value := "x"
	switch {
	case f.Value == "":
		return "--" + f.Name
	case f.Values != nil:
		value = f.Values[0]
	case f.Kind == "time":
		value = "1s"
	case f.Kind == "number":
		value = "1"
	case f.Kind == "address":
		value = "192.0.2.1"
	case strings.HasPrefix(f.Value, "ADDR:PORT"):
		value = "192.0.2.1:9"
	case f.File:
		value = os.DevNull
	}
	return fmt.Sprintf("--%s=%s", f.Name, value)
}

// refused checks that a command line is wrong usage, and that the error has words.
func (w *walk) refused(words []string, args ...string) {
	w.t.Helper()
	status, output := w.run(args...)
	for _, word := range words {
		if !strings.Contains(output, word) {
			w.t.Errorf("%v: no %q in: %s", args, word, output)
		}
	}
	if status != usage {
		w.t.Errorf("%v: status %d, want %d: %s", args, status, usage, output)
	}
}
