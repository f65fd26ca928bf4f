package kernelfacts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// Runner runs a program and returns what it writes to standard output.
type Runner func(ctx context.Context, name string, args ...string) ([]byte, error)

// outputLimit is above the largest changelog (RHEL 8's is some 10 MB).
const outputLimit = 64 << 20

var errOutputLimit = fmt.Errorf("more than %d MiB of output", outputLimit>>20)

// limited is a buffer that refuses to grow without end. The buffer is no embedded
// one, whose ReadFrom would go past Write.
type limited struct{ b bytes.Buffer }

func (l *limited) Write(b []byte) (int, error) {
	if l.b.Len()+len(b) > outputLimit {
		return 0, errOutputLimit
	}
	return l.b.Write(b)
}

// Run is the Runner of the machine. Where the context ends, so does the program.
func Run(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(cmd.Environ(), "LC_ALL=C")
	cmd.WaitDelay = time.Second
	var stdout, stderr limited
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err == nil {
		return stdout.b.Bytes(), nil
	}
	if ctx.Err() != nil {
		err = ctx.Err() // rather than "signal: killed"
	}
	// rpm says on standard output which package is not installed.
	if said := oneLine(stderr.b.String() + "\n" + stdout.b.String()); said != "" && len(said) < 300 {
		return nil, fmt.Errorf("%s: %w: %s", name, err, said)
	}
	return nil, fmt.Errorf("%s: %w", name, err)
}

// oneLine is what a program said, as part of a sentence.
func oneLine(said string) string {
	var lines []string
	for line := range strings.Lines(said) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}

// Changelog is what a package's maker wrote of its changes.
type Changelog struct {
	Package string `json:"package"`
	Entries int    `json:"entries"`

	entries []string
}

// changelogTimeout bounds all questions to rpm together: a damaged or locked
// database makes it wait.
const changelogTimeout = 20 * time.Second

// ErrNoPackages says that a machine's packages are not rpm's, so that there is nothing to read.
var ErrNoPackages = errors.New("rpm has no packages on this machine")

// ReadChangelog asks rpm for the changelog of the running kernel's package. Where rpm is not there, or for those alone
// who unpack a package, the error is [ErrNoPackages].
func ReadChangelog(ctx context.Context, run Runner, release string) (Changelog, error) {
	ctx, cancel := context.WithTimeout(ctx, changelogTimeout)
	defer cancel()
	var problems []error
	for _, question := range [][]string{
		{"kernel-core-" + release},         // RHEL 8 and later, Fedora
		{"kernel-" + release},              // RHEL 7, Amazon
		{"-f", "/boot/vmlinuz-" + release}, // SUSE, UEK: whoever owns the kernel
	} {
		name := question[len(question)-1]
		out, err := run(ctx, "rpm", append([]string{"-q", "--changelog"}, question...)...)
		if err == nil {
			if entries := changelogEntries(string(out)); len(entries) > 0 {
				return Changelog{Package: name, Entries: len(entries), entries: entries}, nil
			}
			err = errors.New("no entries")
		}
		if errors.Is(err, exec.ErrNotFound) {
			return Changelog{}, fmt.Errorf("%w: %w", ErrNoPackages, err)
		}
		problems = append(problems, fmt.Errorf("could not read the changelog of %s: %w", name, err))
		if ctx.Err() != nil {
			break
		}
	}
	// Where rpm has installed anything, then itself. A database that cannot be read is an error here.
	if out, err := run(ctx, "rpm", "-qa", "rpm"); err == nil && oneLine(string(out)) == "" {
		return Changelog{}, ErrNoPackages
	}
	return Changelog{}, together(problems...)
}

// changelogEntries joins the lines of each entry: some makers fold long ones.
func changelogEntries(text string) []string {
	var entries []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "":
		case strings.HasPrefix(line, "-"), strings.HasPrefix(line, "*"), len(entries) == 0:
			entries = append(entries, strings.Join(strings.Fields(line), " "))
		default:
			entries[len(entries)-1] += " " + strings.Join(strings.Fields(line), " ")
		}
	}
	return entries
}

type mention int

const (
	absent mention = iota
	listed
	reverted
)

// fix looks for a fact's fix: all of its CVEs, or all of its commits.
func (c *Changelog) fix(f *Fact) (string, mention) {
	entry, found := c.commits(f.Fix)
	if found != absent || len(f.CVEs) == 0 {
		return entry, found
	}
	for _, cve := range f.CVEs {
		if entry, found = c.find(cve); found != listed {
			return entry, found
		}
	}
	return entry, listed
}

// commits looks for the subjects of all the commits.
func (c *Changelog) commits(commits []Commit) (entry string, found mention) {
	for _, commit := range commits {
		if commit.Subject == "" {
			return "", absent
		}
		if entry, found = c.find(commit.Subject); found != listed {
			return entry, found
		}
	}
	return entry, found
}

// find returns the newest entry with that text; changelogs begin with it.
func (c *Changelog) find(text string) (string, mention) {
	for _, entry := range c.entries {
		_, rest, ok := strings.Cut(entry, text)
		switch {
		case !ok, rest != "" && rest[0] >= '0' && rest[0] <= '9': // CVE-2022-4956 is not CVE-2022-49561
		case strings.Contains(strings.ToLower(entry), "revert"):
			return entry, reverted
		default:
			return entry, listed
		}
	}
	return "", absent
}
