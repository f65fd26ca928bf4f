package documents

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"
)

// TestMessagesAreSaid: what docs/troubleshooting.md explains is something that a program says.
func TestMessagesAreSaid(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "troubleshooting.md"))
	if err != nil {
		t.Fatal(err)
	}
	said := literals(t)
	messages := regexp.MustCompile("(?m)^\\*\\*`([^`]+)`").FindAllStringSubmatch(string(text), -1)
	if len(messages) < 10 {
		t.Errorf("%d messages", len(messages))
	}
	for _, m := range messages {
		for part := range strings.SplitSeq(strings.ReplaceAll(m[1], "...", ": "), ": ") {
			if part = strings.Trim(part, " ,"); part != "" && !isSaid(part, said) {
				t.Errorf("`%s`: no program says %q", m[1], part)
			}
		}
	}
}

var numbers = regexp.MustCompile(`\d+`)

var verb = regexp.MustCompile(`%(\[\d+\])?[-+# 0-9.]*[a-zA-Z]`)

// isSaid says whether a part of a message is within a text of the programs, with their values in the place of verbs.
func isSaid(part string, said map[string]*regexp.Regexp) bool {
	for errno := range syscall.Errno(134) {
		if errno.Error() == part {
			return true
		}
	}
	// Where the message has a number, the program's text has a verb.
	asText := regexp.MustCompile(numbers.ReplaceAllString(regexp.QuoteMeta(part), `(\d+|%\w)`))
	for literal, pattern := range said {
		// A text of a few letters and a value would be anything.
		if asText.MatchString(literal) || len(literal) > len(part)/2 && pattern.MatchString(part) {
			return true
		}
	}
	return false
}

// pattern is a text of a program with anything in the place of its verbs.
func pattern(literal string) *regexp.Regexp {
	pieces := verb.Split(literal, -1)
	for i := range pieces {
		pieces[i] = regexp.QuoteMeta(pieces[i])
	}
	return regexp.MustCompile(strings.Join(pieces, ".+"))
}

// literals are the strings of the programs.
func literals(t *testing.T) map[string]*regexp.Regexp {
	t.Helper()
	found := map[string]*regexp.Regexp{}
	for _, folder := range []string{"daemon", "internal"} {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
					if s, err := strconv.Unquote(l.Value); err == nil && len(s) > 8 && utf8.ValidString(s) {
						found[s] = pattern(s)
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}
