package documents

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// folders are the programs by the folder that each is built from.
var folders = map[string]string{"verdictd": "daemon", "stress": "stress", "conntrackwatch": "conntrackwatch", "lab": "lab"}

// others are the programs of other people that documents name. They are the machine's, and not looked at.
var others = []string{"sudo", "dpkg", "dpkg-deb", "systemctl", "cat", "go", "grep", "ip", "pidof"}

// TestDocuments has the programs built once for all of it.
func TestDocuments(t *testing.T) {
	bin := build(t)
	t.Run("parse", func(t *testing.T) { commandsParse(t, bin) })
	t.Run("found", func(t *testing.T) { whatDoesNotExistIsFound(t, bin) })
	t.Run("run", func(t *testing.T) { commandsRun(t, bin) })
}

// openTo lets any user into a test's folder.
func openTo(t *testing.T, dir string) string {
	t.Helper()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// build makes the programs into a folder that any user may read.
func build(t *testing.T) (bin string) {
	t.Helper()
	bin = openTo(t, t.TempDir())
	for program, folder := range folders {
		// With the Makefile's flags, so that make build has compiled it all before.
		cmd := exec.Command("go", "build", "-C", root, "-trimpath", "-buildvcs=false", "-o", filepath.Join(bin, program), "./"+folder)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", program, err, out)
		}
	}
	return bin
}

// stage is a folder that looks like the source to who types commands there.
func stage(t *testing.T, bin string) (dir string) {
	t.Helper()
	dir = openTo(t, t.TempDir())
	links := map[string]string{"bin": bin}
	for _, name := range []string{"configs", "docs", "lab", "systemd", "daemon", "internal", "go.mod", "go.sum"} {
		links[name] = filepath.Join(root, name)
	}
	for name, target := range links {
		target, err := filepath.Abs(target)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// script writes a program of bash.
func script(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte("#!/bin/bash\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// parsers makes a folder of programs that look at their arguments and do nothing. So it is bash that splits a line,
// and the program's own parser that reads the words.
func parsers(t *testing.T, bin string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	makefile, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	for program := range folders {
		// Behind two hyphens is another command line, of verdictd supervise one of its own.
		script(t, filepath.Join(dir, program), fmt.Sprintf(`
%s --parse "$@" || exit
behind=("$@")
while ((${#behind[@]})) && [[ ${behind[0]} != -- ]]; do behind=("${behind[@]:1}"); done
behind=("${behind[@]:1}")
if ((${#behind[@]})); then
	if [[ $1 == supervise ]]; then exec "$0" "${behind[@]}"; fi
	exec "${behind[@]}"
fi
`, filepath.Join(bin, program)))
	}
	for _, program := range others {
		script(t, filepath.Join(dir, program), "exit 0\n")
	}
	script(t, filepath.Join(dir, "sudo"), "exec \"$@\"\n")
	script(t, filepath.Join(dir, "make"), fmt.Sprintf("PATH=%s exec %s --no-print-directory -n -C %s \"$@\" >/dev/null\n",
		os.Getenv("PATH"), find(t, "make"), makefile))
	return dir
}

func find(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// bash runs a line in a folder, with the programs of another one alone.
func bash(t *testing.T, line, dir, path string) error {
	t.Helper()
	cmd := exec.Command(find(t, "bash"), "-c", line)
	cmd.Dir, cmd.Env = dir, []string{"PATH=" + path}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// lacking are the errors of a command line that leaves something out, as sentences do.
var lacking = regexp.MustCompile(`expected "|missing |needs a command|no such file or directory`)

// commandsParse: each command, also one that is not run, is one that the programs take. A flag that is given another
// name is found here.
func commandsParse(t *testing.T, bin string) {
	t.Helper()
	path := parsers(t, bin)
	dir := stage(t, path)
	for unit, lines := range units(t) {
		for _, line := range lines {
			if err := bash(t, line, dir, path); err != nil {
				t.Errorf("%s: `%s`: %v", unit, line, err)
			}
		}
	}
	// What a package has, unpacked.
	unpacked := filepath.Join(dir, "new", "usr")
	if err := errors.Join(os.MkdirAll(unpacked, 0o750), os.Symlink(path, filepath.Join(unpacked, "bin"))); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, name := range documents(t) {
		for _, c := range read(t, name) {
			if seen[c.text] {
				continue
			}
			seen[c.text] = true
			err := bash(t, c.text, dir, path)
			if err != nil && !(c.has(needsYourFiles) && lacking.MatchString(err.Error())) {
				t.Errorf("%s: `%s`: %v", c.document, c.text, err)
			}
		}
		text, err := os.ReadFile(filepath.Clean(name))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range inline.FindAllStringSubmatch(string(text), -1) {
			line := strings.Join(strings.Fields(placeholders.Replace(m[1])), " ")
			if seen[line] {
				continue
			}
			seen[line] = true
			if err := bash(t, line, dir, path); err != nil && !lacking.MatchString(err.Error()) {
				t.Errorf("%s: `%s`: %v", filepath.Base(name), m[1], err)
			}
		}
	}
}

// units are the command lines of the project's programs in systemd/.
func units(t *testing.T) map[string][]string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(root, "systemd", "*.service"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no units in systemd/ (%v)", err)
	}
	lines := map[string][]string{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^Exec.*?/usr/bin/((?:verdictd|conntrackwatch) [^'\n]*)`).FindAllStringSubmatch(string(text), -1) {
			lines[filepath.Base(name)] = append(lines[filepath.Base(name)], m[1])
		}
		if lines[filepath.Base(name)] == nil {
			t.Errorf("%s runs no command of the project", name)
		}
	}
	return lines
}

// placeholders are what sentences have in the place of values.
var placeholders = strings.NewReplacer(" N", " 1", "TIME", "1s", "...", "")

func whatDoesNotExistIsFound(t *testing.T, bin string) {
	t.Helper()
	path := parsers(t, bin)
	dir := stage(t, path)
	for line, right := range map[string]bool{
		"make demo":                        true,
		"make demo LAB='--flows 10'":       true,
		"make demmo":                       false,
		"sudo bin/verdictd run --config x": true,
		"bin/verdictd run --con x":         false,
		"bin/verdictd walk":                false,
		"bin/nosuch":                       false,
		"rm -rf x":                         false,
		"stress clash --duration 5":        false,
		"stress clash --mode nosuch":       false,
		"verdictd supervise --watchdog 30s -- run --config x": true,
		"verdictd supervise -- run --nosuch":                  false,
		"lab kernel run --image x -- lab matrix --flows 1":    true,
		"lab kernel run --image x -- lab matrix --nosuch":     false,
		"A=1 make demo && make nosuch":                        false,
	} {
		if err := bash(t, line, dir, path); (err == nil) != right {
			t.Errorf("%s: %v", line, err)
		}
	}
}
