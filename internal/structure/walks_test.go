package structure

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestWalks: docs/architecture.md names the files that a packet, a configuration
// value, a counter and a row of a result come through, in their order. Each file is
// there, and comes once: there is no back and forth.
func TestWalks(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## Four walks\n")
	if !found {
		t.Fatal("docs/architecture.md has no section Four walks")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	step := regexp.MustCompile("(?m)^[0-9]+\\. `([^`]+)`")
	for _, walk := range []string{"A packet", "A config value", "A counter", "A result row"} {
		_, text, found := strings.Cut(section, "\n### "+walk+"\n")
		if !found {
			t.Errorf("%s has no walk", walk)
			continue
		}
		text, _, _ = strings.Cut(text, "\n### ")
		var way []string
		for _, m := range step.FindAllStringSubmatch(text, -1) {
			if slices.Contains(way, m[1]) {
				t.Errorf("%s: comes through %s twice", walk, m[1])
			}
			way = append(way, m[1])
			if info, err := os.Stat(filepath.Join(root, m[1])); err != nil || info.IsDir() {
				t.Errorf("%s: %s is no file (%v)", walk, m[1], err)
			}
		}
		if len(way) < 4 {
			t.Errorf("%s: the walk has %d files only", walk, len(way))
		}
	}
}
