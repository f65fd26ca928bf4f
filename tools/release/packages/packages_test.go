package packages

import (
	"bytes"
	"crypto/sha256"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../../.."

// built are the files that make package wrote.
func built(t *testing.T) (files []string) {
	t.Helper()
	dist := t.TempDir()
	cmd := exec.Command("make", "-C", root, "package", "DIST="+dist, "VERSION=v1.2.3-4-gabcdef0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make package: %v\n%s", err, text)
	}
	for _, pattern := range []string{"*.deb", "*.rpm"} {
		found, err := filepath.Glob(filepath.Join(dist, pattern))
		if err != nil || len(found) != 2 {
			t.Fatalf("%s: %q (%v), want two packages", pattern, found, err)
		}
		files = append(files, found...)
	}
	return files
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, stderr.Bytes())
	}
	return string(text)
}

// without the documents, which are many, and come with the tree.
func without(list []string) []string {
	return slices.DeleteFunc(list, func(f string) bool { return strings.Contains(f, "/share/doc/") })
}

func wanted(t *testing.T) map[string][]string {
	t.Helper()
	programs := func(section string, names ...string) (list []string) {
		for _, n := range names {
			list = append(list, "/usr/bin/"+n, "/usr/share/bash-completion/completions/"+n,
				"/usr/share/fish/vendor_completions.d/"+n+".fish", "/usr/share/zsh/vendor-completions/_"+n,
				"/usr/share/man/man"+section+"/"+n+"."+section+".gz")
		}
		return list
	}
	service := append(programs("8", "verdictd", "conntrackwatch"), "/etc/verdictd/verdictd.yaml",
		"/usr/lib/modules-load.d/verdictd.conf", "/usr/lib/sysctl.d/90-verdictd.conf", "/usr/share/man/man5/verdictd.yaml.5.gz")
	units, err := filepath.Glob(filepath.Join(root, "systemd", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range units {
		service = append(service, "/usr/lib/systemd/system/"+filepath.Base(u))
	}
	lab := programs("1", "stress", "lab")
	slices.Sort(service)
	slices.Sort(lab)
	return map[string][]string{"verdictd": service, "verdictd-lab": lab}
}

// TestPackages looks into them, and makes them once more.
func TestPackages(t *testing.T) {
	first, second := built(t), built(t)
	checkContents(t, first)
	checkSame(t, slices.Concat(first, second))
}

func checkContents(t *testing.T, files []string) {
	t.Helper()
	for _, file := range files {
		name := "verdictd"
		if strings.Contains(filepath.Base(file), "lab") {
			name = "verdictd-lab"
		}
		var list []string
		version := ""
		if strings.HasSuffix(file, ".deb") {
			for line := range strings.Lines(output(t, "dpkg-deb", "-c", file)) {
				fields := strings.Fields(line)
				if !strings.HasPrefix(fields[0], "d") {
					list = append(list, strings.TrimPrefix(fields[5], "."))
				}
				if fields[1] != "root/root" {
					t.Errorf("%s: %s", file, line)
				}
			}
			version = output(t, "dpkg-deb", "-f", file, "Version")
			if conf := output(t, "dpkg-deb", "-I", file); name == "verdictd" && !strings.Contains(conf, "conffiles") {
				t.Errorf("%s has no conffiles", file)
			}
		} else {
			for line := range strings.Lines(output(t, "rpm", "-qp", "--qf", "[%{FILEMODES:perms} %{FILENAMES}\n]", file)) {
				if mode, name, _ := strings.Cut(strings.TrimSpace(line), " "); !strings.HasPrefix(mode, "d") {
					list = append(list, name)
				}
			}
			version = output(t, "rpm", "-qp", "--qf", "%{VERSION}\n", file)
			if conf := output(t, "rpm", "-qpc", file); name == "verdictd" && conf != "/etc/verdictd/verdictd.yaml\n" {
				t.Errorf("%s has the configuration files %q", file, conf)
			}
		}
		if version != "1.2.3+4.gabcdef0\n" {
			t.Errorf("%s is of version %q", file, version)
		}
		list = without(list)
		slices.Sort(list)
		if want := wanted(t)[name]; !slices.Equal(list, want) {
			t.Errorf("%s has\n%s\nwant\n%s", file, strings.Join(list, "\n"), strings.Join(want, "\n"))
		}
	}
}

// checkSame: the same source makes the same bytes.
func checkSame(t *testing.T, files []string) {
	t.Helper()
	sums := map[string][]byte{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(text)
		if other, ok := sums[filepath.Base(file)]; ok && !bytes.Equal(other, sum[:]) {
			t.Errorf("%s differs from run to run", filepath.Base(file))
		}
		sums[filepath.Base(file)] = sum[:]
	}
	if len(sums) != 4 {
		t.Errorf("%d packages, want 4", len(sums))
	}
}

// TestInstall: make install with a prefix of its own, and what it writes knows it.
func TestInstall(t *testing.T) {
	dest := t.TempDir()
	if text, err := exec.Command("make", "-C", root, "install", "DIST="+t.TempDir(), "DESTDIR="+dest, "prefix=/opt/v", "sysconfdir=/opt/etc").CombinedOutput(); err != nil {
		t.Fatalf("make install: %v\n%s", err, text)
	}
	for _, name := range []string{"verdictd", "conntrackwatch", "stress", "lab"} {
		output(t, filepath.Join(dest, "opt/v/bin", name), "--version")
	}
	units, err := filepath.Glob(filepath.Join(dest, "opt/v/lib/systemd/system/*.service"))
	if err != nil || len(units) < 2 {
		t.Fatalf("units %q (%v)", units, err)
	}
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		if regexp.MustCompile(`/usr/bin/|/usr/share/doc|[^t]/etc/verdictd`).Match(text) || !bytes.Contains(text, []byte("/opt/v/bin/")) {
			t.Errorf("%s does not know where it is installed:\n%s", unit, text)
		}
		for _, m := range regexp.MustCompile(`file://(\S+)`).FindAllSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(dest, string(m[1]))); err != nil {
				t.Errorf("%s names a document: %v", unit, err)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(dest, "opt/etc/verdictd/verdictd.yaml")); err != nil {
		t.Error(err)
	}
	checkLinks(t, filepath.Join(dest, "opt/v/share/doc/verdictd"))
}

// checkLinks: the documents lie to each other as in the source, but without the source.
func checkLinks(t *testing.T, docs string) {
	t.Helper()
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	names, err := filepath.Glob(filepath.Join(docs, "docs/*.md"))
	if err != nil || len(names) < 10 {
		t.Fatalf("%d documents are installed (%v)", len(names), err)
	}
	for _, name := range append(names, filepath.Join(docs, "README.md")) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllSubmatch(text, -1) {
			to := string(m[1])
			if strings.Contains(to, "go.mod") || strings.Contains(to, "LICENSE") || strings.HasSuffix(to, ".c") || strings.HasSuffix(to, ".go") {
				continue // of the source
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), to)); err != nil {
				t.Errorf("%s links to %s: %v", filepath.Base(name), to, err)
			}
		}
	}
}
