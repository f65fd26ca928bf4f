package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../../.."

// made are the pages and completions of the programs as they are, and these programs.
func made(t *testing.T) (out, bin string) {
	t.Helper()
	out, bin = t.TempDir(), t.TempDir()
	var programs []string
	for name, folder := range map[string]string{"verdictd": "daemon", "conntrackwatch": "conntrackwatch", "stress": "stress",
		"lab": "lab"} {
		program := filepath.Join(bin, name)
		build := exec.Command("go", "build", "-C", root, "-buildvcs=false", "-trimpath", "-o", program, "./"+folder)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", name, err, text)
		}
		programs = append(programs, program)
	}
	if err := run(out, "2026-01-02", "1.2.3", filepath.Join(root, "configs/verdictd.yaml"), programs); err != nil {
		t.Fatal(err)
	}
	return out, bin
}

var (
	commandLine = regexp.MustCompile(`(?m)^  ([a-z]+)(?: ([a-z]+))?(?: [<\[].*| --.*|)$`)
	flagLine    = regexp.MustCompile(`(?m)^  (?:-([a-z]), |    )--(\[no-\])?([a-z0-9-]+)`)
)

// TestEveryCommandAndFlag compares with what --help says, which kong writes.
func TestEveryCommandAndFlag(t *testing.T) {
	out, bin := made(t)
	for _, program := range []string{"verdictd", "conntrackwatch", "stress", "lab"} {
		texts := map[string]string{}
		for shell, name := range map[string]string{"bash": "bash/" + program, "zsh": "zsh/_" + program, "fish": "fish/" + program + ".fish"} {
			texts[shell] = read(t, filepath.Join(out, name))
		}
		pages, err := filepath.Glob(filepath.Join(out, "man?", program+".?"))
		if err != nil || len(pages) != 1 {
			t.Fatalf("%s has the pages %q (%v), want one", program, pages, err)
		}
		texts["page"] = strings.ReplaceAll(read(t, pages[0]), `\-`, "-")
		commands, flags := 0, 0
		var walk func(way []string)
		walk = func(way []string) {
			help, err := exec.Command(filepath.Join(bin, program), append(slices.Clone(way), "--help")...).Output()
			if err != nil {
				t.Fatalf("%s %v --help: %v", program, way, err)
			}
			for _, m := range flagLine.FindAllStringSubmatch(string(help), -1) {
				flags++
				words := map[string][]string{"bash": {"--" + m[3]}, "zsh": {"--" + m[3]}, "fish": {"-l " + m[3] + " "}, "page": {"--" + m[2] + m[3]}}
				if m[2] != "" {
					words["bash"] = append(words["bash"], "--no-"+m[3])
					words["zsh"] = append(words["zsh"], "--no-"+m[3])
					words["fish"] = append(words["fish"], "-l no-"+m[3]+" ")
				}
				for where, list := range words {
					for _, w := range list {
						if !strings.Contains(texts[where], w) {
							t.Errorf("%s of %s lacks %q of %v", where, program, w, way)
						}
					}
				}
			}
			_, below, found := strings.Cut(string(help), "\nCommands:\n")
			if !found {
				return
			}
			for _, m := range commandLine.FindAllStringSubmatch(below, -1) {
				if len(way) > 0 && (m[1] != way[0] || m[2] == "") {
					continue
				}
				commands++
				next := []string{m[1]}
				if m[2] != "" {
					next = append(next, m[2])
				}
				if len(next) <= len(way) {
					continue
				}
				for where, text := range texts {
					if !strings.Contains(text, next[len(next)-1]) {
						t.Errorf("%s of %s lacks the command %v", where, program, next)
					}
				}
				if !strings.Contains(texts["page"], ".SS "+program+" "+strings.Join(next, " ")+"\n") {
					t.Errorf("the page of %s has no section %v", program, next)
				}
				walk(next)
			}
		}
		walk(nil)
		if commands < 4 || flags < 10 {
			t.Errorf("%s --help has %d commands and %d flags: this test does not understand it", program, commands, flags)
		}
	}
}

// TestShellsTakeThem runs the shells.
func TestShellsTakeThem(t *testing.T) {
	out, _ := made(t)
	for _, test := range []struct{ shell, script, want string }{
		{"bash", `. bash/verdictd; COMP_WORDS=(verdictd ru) COMP_CWORD=1; _verdictd; echo "${COMPREPLY[@]}"`, "run rules"},
		{"bash", `. bash/verdictd; COMP_WORDS=(verdictd rules a) COMP_CWORD=2; _verdictd; echo "${COMPREPLY[@]}"`, "apply"},
		{"bash", `. bash/stress; COMP_WORDS=(stress clash --topology = v) COMP_CWORD=4; _stress; echo "${COMPREPLY[@]}"`, "veth"},
		{"bash", `. bash/stress; COMP_WORDS=(stress clash --port 1) COMP_CWORD=3; _stress; echo "${#COMPREPLY[@]}"`, "0"},
		{"bash", `. bash/conntrackwatch; COMP_WORDS=(conntrackwatch live --lis) COMP_CWORD=2; _conntrackwatch; echo "${COMPREPLY[@]}"`, "--listen"},
		{"fish", `source fish/verdictd.fish; complete -C 'verdictd rules a' | cut -f 1`, "apply"},
		{"fish", `source fish/verdictd.fish; complete -C 'verdictd chec' | cut -f 1`, "check"},
		{"fish", `source fish/stress.fish; complete -C 'stress clash --topology=v' | cut -f 1`, "--topology=veth"},
		// Without a terminal zsh has no completion to ask; that it reads the functions is what can be seen.
		{"zsh", `for f in zsh/_*; do zsh -n $f || exit 1; done; fpath=($PWD/zsh $fpath); autoload -U compinit; compinit -u -D; echo $_comps[verdictd] $_comps[lab]`, "_verdictd _lab"},
	} {
		if _, err := exec.LookPath(test.shell); err != nil {
			t.Errorf("no %s to try its completion with: apt-get install %s", test.shell, test.shell)
			continue
		}
		cmd := exec.Command(test.shell, "-c", test.script)
		cmd.Dir = out
		cmd.Env = append(os.Environ(), "HOME="+out)
		text, err := cmd.CombinedOutput()
		if got := strings.TrimSpace(string(text)); err != nil || got != test.want {
			t.Errorf("%s: %s: %q (%v), want %q", test.shell, test.script, got, err, test.want)
		}
	}
}

// TestPagesAreWellFormed: man complains of nothing.
func TestPagesAreWellFormed(t *testing.T) {
	out, _ := made(t)
	pages, err := filepath.Glob(filepath.Join(out, "man?", "*"))
	if err != nil || len(pages) != 5 {
		t.Fatalf("%d pages (%v), want those of four programs and of the configuration", len(pages), err)
	}
	for _, page := range pages {
		text, err := exec.Command("groff", "-man", "-Tutf8", "-ww", "-z", page).CombinedOutput()
		if err != nil || len(text) > 0 {
			t.Errorf("%s: %v\n%s", filepath.Base(page), err, text)
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
