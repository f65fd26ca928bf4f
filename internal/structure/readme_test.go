package structure

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"verdictd/internal/config"
)

// reviewed are the commands in the documents that are neither make's nor the
// project's, each with the reason why it is right without a test.
var reviewed = map[string]string{
	"sudo cat /proc/net/netfilter/nfnetlink_queue":                    "the kernel's file; internal/nfq reads and tests it",
	"sudo dpkg -i dist/verdictd_*.deb":                                "changes the machine; make guest-check does it in another",
	"grep -E 'Cap|NoNewPrivs|Seccomp' /proc/$(pidof verdictd)/status": "the kernel's file; daemon/internal/privileges reads and tests it",
	"sudo systemctl enable --now verdictd":                            "changes the machine; make guest-check does it in another",
	"sudo systemctl enable --now verdictd-guard":                      "changes the machine; systemd's own commands",
}

// programs are the commands by the folder that each is built from.
var programs = map[string]string{
	"verdictd": "daemon", "stress": "stress", "conntrackwatch": "conntrackwatch", "lab": "lab",
}

// documents are the files that tell people what to type.
func documents(t *testing.T) []string {
	t.Helper()
	docs, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(docs) == 0 {
		t.Fatalf("no documents in docs/ (%v)", err)
	}
	return append(docs, filepath.Join(root, "README.md"))
}

// TestCommandsInDocumentsExist reads every ```sh block. It runs nothing but
// --help: .ci/run runs `make test` and `make demo`.
func TestCommandsInDocumentsExist(t *testing.T) {
	c := checker{targets: makeTargets(t), help: helpOf(t)}
	used := map[string]bool{}
	for _, name := range documents(t) {
		commands := shellCommands(t, name)
		if filepath.Base(name) == "README.md" && len(commands) < 2 {
			t.Errorf("%s has %d commands: it should begin with two", name, len(commands))
		}
		for _, command := range commands {
			if _, ok := reviewed[command]; ok {
				used[command] = true
			} else if err := c.check(command); err != nil {
				t.Errorf("%s: `%s`: %v", filepath.Base(name), command, err)
			}
		}
	}
	for command := range reviewed {
		if !used[command] {
			t.Errorf("no document has the reviewed command `%s` any more: take it out of the list", command)
		}
	}
}

// TestReadmeIsForAStrangerInAHurry: it asks whether he has the problem, shows it, and
// leaves the rest to docs/.
func TestReadmeIsForAStrangerInAHurry(t *testing.T) {
	const most = 120
	name := filepath.Join(root, "README.md")
	if want := []string{"make build && sudo bin/verdictd audit", "make demo", "make test"}; !slices.Equal(shellCommands(t, name)[:3], want) {
		t.Errorf("README.md begins with %q, want %q", shellCommands(t, name)[:3], want)
	}
	text, err := os.ReadFile(filepath.Clean(name))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "\n"); n > most {
		t.Errorf("README.md has %d lines, more than %d", n, most)
	}
}

// TestConfigurationsInDocuments: a block of YAML is a whole configuration that the
// daemon takes.
func TestConfigurationsInDocuments(t *testing.T) {
	block := regexp.MustCompile("(?s)```yaml\n(.*?)```")
	found := 0
	for _, name := range documents(t) {
		text, err := os.ReadFile(filepath.Clean(name))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range block.FindAllSubmatch(text, -1) {
			found++
			if _, err := config.Parse(filepath.Base(name), m[1]); err != nil {
				t.Errorf("%v, in\n%s", err, m[1])
			}
		}
	}
	if found == 0 {
		t.Error("no document shows a configuration")
	}
}

func TestCheckFindsWhatDoesNotExist(t *testing.T) {
	c := checker{
		targets: map[string]bool{"demo": true},
		help: func(program string, subcommands []string) (string, error) {
			if program == "verdictd" && slices.Equal(subcommands, []string{"run"}) {
				return "Flags:\n  -h, --help\n      --config=FILE    Configuration", nil
			}
			return "", fmt.Errorf("unexpected argument %v", subcommands)
		},
	}
	for command, ok := range map[string]bool{
		"make demo":                        true,
		"make demo LAB='--flows 10'":       true,
		"make demmo":                       false,
		"make":                             true,
		"sudo bin/verdictd run --config x": true,
		"bin/verdictd run --config=x":      true,
		"bin/verdictd run --con x":         false,
		"bin/verdictd run --nosuch":        false,
		"bin/verdictd walk":                false,
		"bin/nosuch":                       false,
		"rm -rf /":                         false,
		"bin/verdictd run --config configs/nosuch.yaml": false,
		"A=1 make demo && make nosuch":                  false,
		"A=1 make demo && make demo":                    true,
	} {
		if err := c.check(command); (err == nil) != ok {
			t.Errorf("%s: %v", command, err)
		}
	}
}

func TestLinksInDocumentsLead(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	for _, name := range documents(t) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", filepath.Base(name), m[1], err)
			}
		}
	}
}

// TestAlertsSayWhatToDo: whom an alert wakes up finds it in docs/operating.md.
func TestAlertsSayWhatToDo(t *testing.T) {
	rules, err := os.ReadFile(filepath.Join(root, "configs", "prometheus", "verdictd.rules.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "docs", "operating.md"))
	if err != nil {
		t.Fatal(err)
	}
	alerts := regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(string(rules), -1)
	if len(alerts) < 5 {
		t.Errorf("%d alerts", len(alerts))
	}
	for _, m := range alerts {
		if !strings.Contains(string(text), "| `"+m[1]+"` |") {
			t.Errorf("docs/operating.md does not say what to do about %s", m[1])
		}
	}
}

// shellCommands are the lines of a document's ```sh blocks, with continued
// ones joined and remarks taken off.
func shellCommands(t *testing.T, name string) []string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var commands []string
	inside := false
	joined := strings.ReplaceAll(string(text), "\\\n", " ")
	for line := range strings.Lines(joined) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```sh"
		case inside:
			line, _, _ = strings.Cut(" "+line, " #")
			if words := strings.Fields(line); len(words) > 0 {
				commands = append(commands, strings.Join(words, " "))
			}
		}
	}
	return commands
}

// checker knows what there is to be run.
type checker struct {
	targets map[string]bool
	help    func(program string, subcommands []string) (string, error)
}

var assignment = regexp.MustCompile(`^[A-Z_]+=`)

// check says what of a command line does not exist.
func (c *checker) check(line string) error {
	for part := range strings.SplitSeq(line, " && ") {
		words := strings.Fields(part)
		for len(words) > 0 && (assignment.MatchString(words[0]) || words[0] == "sudo") {
			words = words[1:]
		}
		if len(words) == 0 {
			return fmt.Errorf("nothing to run in %q", part)
		}
		for _, w := range words[1:] {
			if strings.HasPrefix(w, "configs/") || strings.HasPrefix(w, "systemd/") {
				if _, err := os.Stat(filepath.Join(root, w)); err != nil {
					return err
				}
			}
		}
		program := strings.TrimPrefix(words[0], "bin/")
		switch _, own := programs[program]; {
		case program == "make":
			for _, w := range words[1:] {
				if assignment.MatchString(w) {
					break
				}
				if !c.targets[w] {
					return fmt.Errorf("the Makefile has no target %s", w)
				}
			}
		case own:
			if err := c.program(program, words[1:]); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%s is neither make nor one of the programs: add the line to the reviewed ones (readme_test.go), with the reason why it is right", words[0])
		}
	}
	return nil
}

// program checks a program's arguments: subcommands first, then flags.
func (c *checker) program(name string, args []string) error {
	// Behind two hyphens is a command line of the same program.
	if n := slices.Index(args, "--"); n >= 0 {
		if err := c.program(name, args[n+1:]); err != nil {
			return err
		}
		args = args[:n]
	}
	n := slices.IndexFunc(args, func(a string) bool { return strings.HasPrefix(a, "-") })
	if n < 0 {
		n = len(args)
	}
	help, err := c.help(name, args[:n])
	if err != nil {
		return err
	}
	for _, a := range args[n:] {
		if !strings.HasPrefix(a, "--") {
			continue
		}
		flag, _, _ := strings.Cut(a, "=")
		if !regexp.MustCompile(`(?m)^\s+(-\w, )?` + regexp.QuoteMeta(flag) + `([=\s\[]|$)`).MatchString(help) {
			return fmt.Errorf("%s %s has no flag %s", name, strings.Join(args[:n], " "), flag)
		}
	}
	return nil
}

// helpOf builds the programs and returns what asks them for help.
func helpOf(t *testing.T) func(program string, subcommands []string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	build := sync.OnceValue(func() error {
		// With the Makefile's flags, so that make build has compiled it all before.
		args := []string{"build", "-trimpath", "-buildvcs=false", "-o", dir}
		for _, folder := range programs {
			args = append(args, "./"+folder)
		}
		cmd := exec.Command("go", args...)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build the programs: %w\n%s", err, out)
		}
		return nil
	})
	return func(program string, subcommands []string) (string, error) {
		if err := build(); err != nil {
			return "", err
		}
		out, err := exec.Command(filepath.Join(dir, programs[program]), append(slices.Clone(subcommands), "--help")...).CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("%s %v --help: %w\n%s", program, subcommands, err, out)
		}
		return string(out), nil
	}
}

func makeTargets(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	targets := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^([a-z-]+):`).FindAllSubmatch(text, -1) {
		targets[string(m[1])] = true
	}
	return targets
}
