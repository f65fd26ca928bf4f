package documents

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// root is the source's folder, as seen from this package's.
const root = "../../.."

// The remarks that say why a command is not run as it stands. A remark may say more, in parts that are separated by
// semicolons. One on a line of its own is for the commands below it, up to the next one.
const (
	untilCtrlC     = "until Ctrl-C"              // runs until it is told to stop, and then ends well
	needsDaemon    = "needs a running daemon"    // is run with one, and fails without
	needsRules     = "needs rules that are left" // the same of a daemon's rules without it
	needsKprobes   = "needs kprobes"             // is run, and may be refused by a kernel that has none
	needsService   = "needs the package"         // speaks of what is installed, or installs it
	needsMachine   = "needs a virtual machine"   // lab kernel: an emulator, and kernels from a mirror
	needsYourFiles = "needs your files"          // names what nobody else has
)

var (
	known = []string{untilCtrlC, needsDaemon, needsRules, needsKprobes, needsService, needsMachine, needsYourFiles}
	takes = regexp.MustCompile(`^takes (a minute|some minutes|an hour|hours|a day)$`)
	marks = regexp.MustCompile(`^(until|needs|takes) `)
)

// command is one line of a document's ```sh blocks.
type command struct {
	document string // its file's name
	text     string // with continued lines joined
	marks    []string
}

func (c *command) has(mark string) bool { return slices.Contains(c.marks, mark) }

func (c *command) takesLong() bool { return slices.ContainsFunc(c.marks, takes.MatchString) }

// documents are the files that tell people what to type.
func documents(t *testing.T) []string {
	t.Helper()
	docs, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(docs) == 0 {
		t.Fatalf("no documents in docs/ (%v)", err)
	}
	return append(docs, filepath.Join(root, "README.md"))
}

// read returns the commands of a document in their order.
func read(t *testing.T, name string) []command {
	t.Helper()
	text, err := os.ReadFile(filepath.Clean(name))
	if err != nil {
		t.Fatal(err)
	}
	return parse(filepath.Base(name), string(text))
}

func parse(document, text string) (commands []command) {
	inside := false
	var above []string
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "```"):
			inside, above = line == "```sh", nil
		case inside && strings.HasPrefix(line, "#"):
			above = marksIn(line)
		case inside && line != "":
			line, remark, _ := strings.Cut(line, " #")
			text := strings.Join(strings.Fields(line), " ")
			commands = append(commands, command{document, text, append(slices.Clone(above), marksIn(remark)...)})
		}
	}
	return commands
}

// marksIn are the parts of a remark that say what a command needs.
func marksIn(remark string) (found []string) {
	for part := range strings.SplitSeq(strings.TrimLeft(remark, "# "), "; ") {
		if part = strings.TrimSpace(part); marks.MatchString(part) {
			found = append(found, part)
		}
	}
	return found
}

// inline are the commands within sentences, which may lack arguments.
var inline = regexp.MustCompile("`((?:sudo )?(?:bin/)?(?:verdictd|stress|lab|conntrackwatch) [^`]*)`")

// TestMarks: what a remark says is of the list, and is so.
func TestMarks(t *testing.T) {
	for _, name := range documents(t) {
		for _, c := range read(t, name) {
			for _, mark := range c.marks {
				if !takes.MatchString(mark) && !slices.Contains(known, mark) {
					t.Errorf("%s: `%s`: %q is none of the remarks that say why a command is not run as it stands: %q, %s",
						c.document, c.text, mark, known, takes)
				} else if absurd(&c, mark) {
					t.Errorf("%s: `%s` does not look as if it were so: %s", c.document, c.text, mark)
				}
			}
		}
	}
}

// What commands look like of which a remark can be true. The others are found out by running them.
var (
	long    = regexp.MustCompile(`\bmake [a-z]|\bgo test\b|\blab (matrix|bench|soak|faults|facts|dns|kernel)\b|--duration ([1-9]\d*m|[1-9]\d*h)\b`)
	service = regexp.MustCompile(`\bsystemctl |\bdpkg |\bdpkg-deb |/etc/verdictd/|/usr/bin/verdictd`)
	virtual = regexp.MustCompile(`\blab kernel |^make (lab|guest)-|\bstress modload `)
)

func absurd(c *command, mark string) bool {
	switch mark {
	case needsService:
		return !service.MatchString(c.text)
	case needsMachine:
		return !virtual.MatchString(c.text)
	case needsKprobes:
		return !strings.Contains(c.text, "conntrackwatch trace")
	case untilCtrlC, needsDaemon, needsRules, needsYourFiles:
		return false
	}
	return !long.MatchString(c.text)
}

func TestParse(t *testing.T) {
	text := "```sh\na --x \\\n  1   # takes a minute; nice\nb\n# needs a virtual machine\nc # until Ctrl-C\nd 'e'\n# plain\nf\n```\n\n```yaml\ng\n```\n"
	want := []command{
		{"x.md", "a --x 1", []string{"takes a minute"}}, {"x.md", "b", nil},
		{"x.md", "c", []string{needsMachine, untilCtrlC}}, {"x.md", "d 'e'", []string{needsMachine}}, {"x.md", "f", nil},
	}
	got := parse("x.md", text)
	if !slices.EqualFunc(got, want, func(a, b command) bool { return a.text == b.text && slices.Equal(a.marks, b.marks) }) {
		t.Errorf("%+v, want %+v", got, want)
	}
}
