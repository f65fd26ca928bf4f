package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// ruleNamed is a rule of an included file.
func ruleNamed(name string) string { return "rules:\n  - {name: " + name + ", action: drop}\n" }

func TestInclude(t *testing.T) {
	d := t.TempDir()
	put(t, d, "rules.d/b.yaml", ruleNamed("b")+"sets:\n  - {name: s, type: names, file: ../lists/s.txt}\n")
	put(t, d, "rules.d/a.yaml", ruleNamed("a"))
	put(t, d, "rules.d/empty.yaml", "# nothing yet\n")
	put(t, d, "rules.d/.#a.yaml", "an editor's\n")
	put(t, d, "rules.d/a.yaml~", "an editor's\n")
	put(t, d, "lists/s.txt", "example.org\n")
	last := put(t, t.TempDir(), "z.yaml", ruleNamed("z"))
	main := put(t, d, "verdictd.yaml", "policy:\n  include: [rules.d/*.yaml, "+last+"]\n  rules:\n    - {name: own, action: accept, names: [\"@s\"]}\n")
	f, err := LoadFile(main)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range f.Policy.Rules {
		names = append(names, r.Name)
	}
	if got := strings.Join(names, " "); got != "own a b z" {
		t.Errorf("rules %s, want own a b z", got)
	}
	if s := f.Policy.Sets[0]; s.File != filepath.Join(d, "lists/s.txt") {
		t.Errorf("the set's file counts from its own file's folder, not %s", s.File)
	}
	for key, want := range map[string]string{
		"policy.rules[0].action": main + ":4:27: policy.rules[0].action: x",
		"policy.rules[1].action": filepath.Join(d, "rules.d/a.yaml") + ":2:23: rules[0].action: x",
		"policy.rules[3]":        last + ":2:5: rules[0]: x",
		"policy.sets[0].type":    filepath.Join(d, "rules.d/b.yaml") + ":4:21: sets[0].type: x",
	} {
		if got := f.Problem(key, "x").Error(); got != want {
			t.Errorf("problem of %s: %s, want %s", key, got, want)
		}
	}
	text, err := f.YAML()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := Parse("whole", text); err != nil || len(again.Policy.Rules) != 4 {
		t.Errorf("all in one file: %v in\n%s", err, text)
	}
}

// TestIncludeProblems: each names the file that has it.
func TestIncludeProblems(t *testing.T) {
	d := t.TempDir()
	put(t, d, "r/a.yaml", "rules:\n  - {name: a, action: drpo, source: [192.0.2.1/24]}\nsets:\n  - {name: twice, type: ports, entries: [1]}\n")
	put(t, d, "r/b.yaml", "rules:\n  - {name: b, names: [\"@nine\"], queue: 3}\nsets:\n  - {name: twice, type: ports, entries: [99999]}\n  - {name: f, type: names, file: none.txt}\n")
	put(t, d, "r/c.yaml", "policy: {rules: []}\ninclude: [a.yaml]\nrulse: []\n")
	put(t, d, "r/d.yaml", "rules: [\n")
	put(t, d, "r/e.yaml", "- a\n")
	put(t, d, "r/f.yaml", "\xff\xfer\x00")
	put(t, d, "empty/x", "")
	main := put(t, d, "v.yaml", `backend: fast
policy:
  include: [r/*.yaml, r/a.yaml, v.yaml, none.yaml, nodir/*.yaml, "empty/*.yaml", r, "*/a.yaml", "r/[", "", 3]
`)
	if err := os.Symlink("a.yaml", filepath.Join(d, "r/link.yaml")); err != nil {
		t.Fatal(err)
	}
	_, err := Load(main)
	r := filepath.Join(d, "r")
	compareProblems(t, err, []string{
		main + `:1:10: backend: "fast" is not`,
		main + `:3:13: policy.include[0]: ` + r + `/link.yaml is included a second time`,
		main + `:3:23: policy.include[1]: ` + r + `/a.yaml is included a second time`,
		main + `:3:33: policy.include[2]: ` + main + ` is included a second time`,
		main + `:3:41: policy.include[3]: stat ` + d + `/none.yaml: no such file`,
		main + `:3:52: policy.include[4]: there is no folder ` + d + `/nodir/: make it`,
		main + `:3:82: policy.include[6]: ` + r + ` is a folder: write ` + r + `/*.yaml`,
		main + `:3:85: policy.include[7]: "` + d + `/*/a.yaml" has a pattern in the name of a folder`,
		main + `:3:97: policy.include[8]: "` + r + `/[" is no pattern`,
		main + `:3:104: policy.include[9]: is empty`,
		main + `:3:108: policy.include[10]: must be text, not a number`,
		r + `/a.yaml:2:23: rules[0].action: "drpo" is no action`,
		r + `/a.yaml:2:38: rules[0].source[0]: 192.0.2.1/24 has bits set`,
		r + `/b.yaml:2:5: rules[0].action: is missing`,
		r + `/b.yaml:2:23: rules[0].names[0]: there is no set nine: the nearest is`,
		r + `/b.yaml:4:12: sets[0].name: twice is the name of another set`,
		r + `/b.yaml:4:42: sets[0].entries[0]: "99999" is no port`,
		r + `/b.yaml:5:34: sets[1].file: stat ` + r + `/none.txt: no such file`,
		r + `/c.yaml:1:1: policy: is one level too many`,
		r + `/c.yaml:2:1: include: is for the configuration alone`,
		r + `/c.yaml:3:1: rulse: no such key: the nearest is "rules", of sets, rules`,
		r + `/d.yaml:1:8: not YAML`,
		r + `/e.yaml:1:1: must be a section of keys, not a list`,
		r + `/f.yaml:1:1: is in UTF-16`,
	})
}

// TestIncludeIsBounded: by files, by bytes, and by time.
func TestIncludeIsBounded(t *testing.T) {
	d := t.TempDir()
	for i := range maxIncluded + 1 {
		put(t, d, fmt.Sprintf("many/%04d.yaml", i), "{}")
	}
	for i := range maxIncludedBytes/maxFile + 1 {
		put(t, d, fmt.Sprintf("long/%d.yaml", i), strings.Repeat("#"+strings.Repeat(" ", 1022)+"\n", maxFile/1024))
	}
	put(t, d, "huge/a.yaml", strings.Repeat(" ", maxFile+1))
	for folder, want := range map[string]string{
		"many": "are included", "long": "are included", "huge": filepath.Join(d, "huge/a.yaml") + ":1:1: has more than",
	} {
		_, err := Load(put(t, d, "v.yaml", "policy: {include: ["+folder+"/*.yaml]}\n"))
		if problems := Problems(err); len(problems) != 1 || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want one problem: ... %s", folder, err, want)
		}
	}
	if _, err := Load(put(t, d, "v.yaml", "policy: {include: [/dev/zero]}\n")); err == nil || !strings.Contains(err.Error(), "/dev/zero:1:1: has more than") {
		t.Errorf("a device without an end: %v", err)
	}
	if _, err := Load(put(t, d, "v.yaml", "policy: {include: ["+d+"]}\n")); err == nil || !strings.Contains(err.Error(), "is a folder") {
		t.Errorf("a folder: %v", err)
	}
}

// TestIncludeAgain: an included file that is being written is waited for, and an empty one is not believed.
func TestIncludeAgain(t *testing.T) {
	d := t.TempDir()
	part := put(t, d, "r.yaml", "")
	main := put(t, d, "v.yaml", "policy: {include: [r.yaml]}\n")
	old := time.Now().Add(-time.Minute)
	for _, path := range []string{part, main} {
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := LoadAgain(main); err == nil || !strings.Contains(err.Error(), part+":1:1: is empty: write {}") {
		t.Errorf("an empty file: %v", err)
	}
	if f, err := Load(main); err != nil || len(f.Policy.Rules) != 0 {
		t.Errorf("at the start an empty file has no rules: %v", err)
	}
	// It grows and is never empty: a writer that a busy machine stops for long has a file that stands still.
	grows, err := os.OpenFile(part, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer grows.Close()
	if _, err := grows.WriteString("rules:\n  - {action: drop}\n"); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		var err error
		for range 5 {
			if _, err = grows.WriteString("  - {action: drop}\n"); err != nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		ended <- err
	}()
	f, err := LoadAgain(main)
	if werr := <-ended; werr != nil {
		t.Fatal(werr)
	}
	if err != nil {
		t.Fatal(err)
	}
	if n := len(f.Policy.Rules); n == 0 {
		t.Error("no rules were read")
	}
}

// TestIncludeOfAFolderThatCannotBeRead: its rules are not silently left out.
func TestIncludeOfAFolderThatCannotBeRead(t *testing.T) {
	d := t.TempDir()
	put(t, d, "r", "a file")
	if _, err := Load(put(t, d, "v.yaml", "policy: {include: [r/*.yaml]}\n")); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("%v, want that r is no directory", err)
	}
}
