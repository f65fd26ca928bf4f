package structure

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What a reader can hold in mind.
const (
	maxLines         = 400 // of a file: one concept
	maxFunctionLines = 60  // without the lines of composite literals, which are tables
	maxCommandFiles  = 12  // of a command's own package: flags and wiring
	maxShared        = 20  // packages in internal/
)

// sources calls f with every Go file of the module, tests included.
func sources(t *testing.T, f func(name string, text []byte, set *token.FileSet, file *ast.File)) {
	t.Helper()
	for _, p := range list(t) {
		names, err := filepath.Glob(filepath.Join(p.Dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			text, err := os.ReadFile(filepath.Clean(name))
			if err != nil {
				t.Fatal(err)
			}
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, name, text, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			if !ast.IsGenerated(file) {
				f(name, text, set, file)
			}
		}
	}
}

func TestFilesAreShort(t *testing.T) {
	sources(t, func(name string, text []byte, _ *token.FileSet, _ *ast.File) {
		if n := strings.Count(string(text), "\n"); n > maxLines {
			t.Errorf("%s has %d lines, more than %d: find the second concept in it", name, n, maxLines)
		}
	})
}

func TestFunctionsAreShort(t *testing.T) {
	sources(t, func(_ string, _ []byte, set *token.FileSet, file *ast.File) {
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			if n := lines(set, f); n > maxFunctionLines {
				t.Errorf("%s: %s has %d lines, more than %d", set.Position(f.Pos()), f.Name.Name, n, maxFunctionLines)
			}
		}
	})
}

// lines counts those of a function that are not within a composite literal.
func lines(set *token.FileSet, f *ast.FuncDecl) int {
	line := func(p token.Pos) int { return set.Position(p).Line }
	n := line(f.End()) - line(f.Pos()) + 1
	ast.Inspect(f, func(node ast.Node) bool {
		literal, ok := node.(*ast.CompositeLit)
		if !ok {
			return true
		}
		n -= line(literal.End()) - line(literal.Pos())
		return false
	})
	return n
}

// TestCommandsAreThin: what a command does is in packages below it or shared.
func TestCommandsAreThin(t *testing.T) {
	commands := 0
	for _, p := range list(t) {
		if p.Name != "main" || strings.Contains(p.ImportPath, "internal") {
			continue
		}
		commands++
		if n := len(p.GoFiles); n > maxCommandFiles {
			t.Errorf("%s has %d files, more than %d: flags and wiring belong there, the rest below it", p.ImportPath, n, maxCommandFiles)
		}
	}
	if commands < 4 {
		t.Errorf("%d commands, want verdictd, stress, conntrackwatch and lab", commands)
	}
}

func TestSharedPackagesAreFew(t *testing.T) {
	var shared []string
	for _, p := range list(t) {
		if strings.HasPrefix(p.ImportPath, internal) {
			shared = append(shared, p.folder())
		}
	}
	if len(shared) > maxShared {
		t.Errorf("internal/ has %d packages, more than %d: %v", len(shared), maxShared, shared)
	}
}
