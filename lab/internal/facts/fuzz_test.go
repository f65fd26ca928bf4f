package facts

import (
	"os"
	"strings"
	"testing"
)

// FuzzParse reads arbitrary text as a changelog. What is read has versions, and each of
// them its commits, which are in the text.
func FuzzParse(f *testing.F) {
	debian, err := os.ReadFile("testdata/changelog.txt") // the beginning of Debian's 6.1.187-1
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(debian))
	f.Add(made)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse(strings.NewReader(text))
		if err != nil {
			return
		}
		if len(c.entries) == 0 {
			t.Error("a changelog without versions")
		}
		for v, entries := range c.entries {
			if !strings.Contains(text, "/ChangeLog-") {
				t.Errorf("%s is not in the text", v)
			}
			for _, e := range entries {
				if first, _, _ := strings.Cut(e, " "); !strings.Contains(text, first) {
					t.Errorf("%s: %q is not in the text", v, e)
				}
			}
		}
	})
}
