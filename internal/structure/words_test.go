package structure

import (
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// maxColumns is the longest line of a document and of a comment; a tab counts for 4.
const maxColumns = 120

// words that an operator who learnt English later may not know, or that are out of
// use, each with what to say.
var words = map[*regexp.Regexp]string{
	regexp.MustCompile(`(?i)\b(anew)\b`):            "again",
	regexp.MustCompile(`(?i)\b(wished)\b`):          "wanted",
	regexp.MustCompile(`(?i)\b(whence)\b`):          "from where",
	regexp.MustCompile(`(?i)\b(whither)\b`):         "where",
	regexp.MustCompile(`(?i)\b(thereby)\b`):         "by that",
	regexp.MustCompile(`(?i)\b(reinject(s|ed)?)\b`): "release; the kernel's is a re-injection (docs/glossary.md)",
}

// plain reports words of a text that have plainer ones.
func plain(t *testing.T, where, text string) {
	t.Helper()
	for word, better := range words {
		if m := word.FindString(text); m != "" {
			t.Errorf("%s says %q; say %s", where, m, better)
		}
	}
}

func TestDocumentsAreReadable(t *testing.T) {
	for _, name := range append(documents(t), filepath.Join(root, "CHANGELOG.md"), filepath.Join(root, "configs", "verdictd.yaml")) {
		text, err := os.ReadFile(filepath.Clean(name))
		if err != nil {
			t.Fatal(err)
		}
		code, n := false, 0
		for line := range strings.Lines(string(text)) {
			line, n = strings.TrimRight(line, "\n"), n+1
			if strings.HasPrefix(line, "```") {
				code = !code
				continue
			}
			if code || strings.HasPrefix(line, "    ") {
				continue
			}
			plain(t, filepath.Base(name), regexp.MustCompile("`[^`]*`").ReplaceAllString(line, ""))
			if !strings.HasPrefix(strings.TrimSpace(line), "|") && utf8.RuneCountInString(line) > maxColumns {
				t.Errorf("%s:%d has more than %d columns", filepath.Base(name), n, maxColumns)
			}
		}
	}
}

func TestCommentsAreReadable(t *testing.T) {
	sources(t, func(_ string, text []byte, set *token.FileSet, file *ast.File) {
		all := strings.Split(string(text), "\n")
		for _, group := range file.Comments {
			plain(t, set.Position(group.Pos()).String(), group.Text())
			for _, c := range group.List {
				line := all[set.Position(c.Pos()).Line-1]
				alone := strings.HasPrefix(strings.TrimSpace(line), "//") && !strings.HasPrefix(c.Text, "//go:") && !strings.HasPrefix(c.Text, "//nolint")
				if alone && utf8.RuneCountInString(strings.ReplaceAll(line, "\t", "    ")) > maxColumns {
					t.Errorf("%s: a comment of more than %d columns", set.Position(c.Pos()), maxColumns)
				}
			}
		}
	})
}
