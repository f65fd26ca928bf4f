package facts

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strings"

	"verdictd/internal/kernelfacts"
)

// A Changelog is what Debian's kernel package says of the stable versions that went
// into it. Its own patches are left out: they are in no stable version.
type Changelog struct {
	// Package and Version are of the newest entry: linux, 6.1.192-2.
	Package, Version string
	// entries are the subjects of the commits of each stable version.
	entries map[kernelfacts.Version][]string
}

var (
	packageEntry = regexp.MustCompile(`^(linux\S*) \(([^)]+)\) `)
	stableUpdate = regexp.MustCompile(`/ChangeLog-(\d+\.\d+\.\d+)\s*$`)
)

// limit is above the longest line of such a file.
const limit = 1 << 20

// Parse reads a changelog. It fails where that has no stable versions.
func Parse(r io.Reader) (*Changelog, error) {
	c := &Changelog{entries: map[kernelfacts.Version][]string{}}
	var version kernelfacts.Version // zero: not within a stable update
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, limit)
	for lines.Scan() {
		line := lines.Text()
		if m := packageEntry.FindStringSubmatch(line); m != nil {
			if c.Package == "" {
				c.Package, c.Version = m[1], m[2]
			}
			version = kernelfacts.Version{}
			continue
		}
		if m := stableUpdate.FindStringSubmatch(line); m != nil {
			v, _, err := kernelfacts.ParseVersion(m[1])
			if err != nil {
				return nil, fmt.Errorf("read the changelog: %w", err)
			}
			version = v
			if c.entries[v] == nil {
				c.entries[v] = []string{}
			}
			continue
		}
		text := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "  * "), strings.HasPrefix(line, "  ["), text == "":
			version = kernelfacts.Version{}
		case version == kernelfacts.Version{}:
		case strings.HasPrefix(text, "- "):
			c.entries[version] = append(c.entries[version], strings.TrimPrefix(text, "- "))
		case len(c.entries[version]) > 0: // a subject that was folded
			c.entries[version][len(c.entries[version])-1] += " " + text
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the changelog: %w", err)
	}
	if len(c.entries) == 0 {
		return nil, fmt.Errorf("it is no changelog of Debian's kernel: it names no stable version (.../ChangeLog-6.1.130)")
	}
	return c, nil
}

// first is the first version of a branch whose changelog has a commit of that subject.
func (c *Changelog) first(branch kernelfacts.Version, subject string) (first kernelfacts.Version, found bool) {
	for v, entries := range c.entries {
		if v.Major != branch.Major || v.Minor != branch.Minor || found && v.Compare(first) > 0 {
			continue
		}
		for _, entry := range entries {
			// What follows a subject is a number of a fault: (CVE-2026-45859).
			if rest, ok := strings.CutPrefix(entry, subject); ok && (rest == "" || strings.HasPrefix(rest, " (")) {
				first, found = v, true
			}
		}
	}
	return first, found
}
