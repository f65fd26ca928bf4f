package structure

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"verdictd/internal/config"
)

// documents are the files that tell people what to type.
func documents(t *testing.T) []string {
	t.Helper()
	docs, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(docs) == 0 {
		t.Fatalf("no documents in docs/ (%v)", err)
	}
	return append(docs, filepath.Join(root, "README.md"))
}

// TestReadmeIsForAStrangerInAHurry: it asks whether he has the problem, shows it, and
// leaves the rest to docs/.
func TestReadmeIsForAStrangerInAHurry(t *testing.T) {
	const most = 120
	name := filepath.Join(root, "README.md")
	text, err := os.ReadFile(filepath.Clean(name))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"sudo bin/verdictd audit", "\nmake demo ", "\nmake test "} {
		if !strings.Contains(string(text), want) {
			t.Errorf("README.md does not say %q", want)
		}
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
