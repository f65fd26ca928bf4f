package structure

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const (
	module   = "verdictd"
	internal = module + "/internal/"
)

// root is the folder of the module.
const root = "../.."

type goPackage struct {
	ImportPath string
	Dir        string
	Name       string
	Imports    []string
	GoFiles    []string
}

// folder is the package's, from the module's.
func (p *goPackage) folder() string { return strings.TrimPrefix(p.ImportPath, module+"/") }

// list returns the module's packages.
func list(t *testing.T) []goPackage {
	t.Helper()
	packages, err := listed()
	if err != nil {
		t.Fatal(err)
	}
	return packages
}

var listed = sync.OnceValues(func() (packages []goPackage, err error) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Name,Imports,GoFiles", "./...")
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w\n%s", err, stderr.Bytes())
	}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		switch err := d.Decode(&p); {
		case errors.Is(err, io.EOF) && len(packages) > 0:
			return packages, nil
		case err != nil:
			return nil, fmt.Errorf("go list names no package, or ends early: %w", err)
		}
		packages = append(packages, p)
	}
})

// Constants of the kernel's interface are no system calls; calls into package
// unix are.
func TestPurePackagesMakeNoSystemCalls(t *testing.T) {
	for _, p := range list(t) {
		if !slices.Contains(pure, p.folder()) {
			continue
		}
		for _, name := range p.GoFiles {
			files := token.NewFileSet()
			f, err := parser.ParseFile(files, filepath.Join(p.Dir, name), nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				if f, ok := call.Fun.(*ast.SelectorExpr); ok {
					if x, ok := f.X.(*ast.Ident); ok && (x.Name == "unix" || x.Name == "time" && f.Sel.Name == "Now") {
						t.Errorf("%s: a pure package calls %s.%s", files.Position(call.Pos()), x.Name, f.Sel.Name)
					}
				}
				return true
			})
		}
	}
}

func TestEveryPackageSaysWhyItExists(t *testing.T) {
	for _, p := range list(t) {
		name := filepath.Join(p.Dir, "doc.go")
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		switch {
		case errors.Is(err, os.ErrNotExist):
			t.Errorf("%s has no doc.go", p.ImportPath)
		case err != nil:
			t.Errorf("%s: %v", p.ImportPath, err)
		case f.Doc == nil:
			t.Errorf("%s: doc.go has no package comment", p.ImportPath)
		}
	}
}

// `make test` runs these by their names, as it builds all tests with the race
// detector first.
func TestAllocationGatesAreFound(t *testing.T) {
	gates := 0
	for _, p := range list(t) {
		names, err := filepath.Glob(filepath.Join(p.Dir, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			if len(f.Comments) == 0 || f.Comments[0].List[0].Text != "//go:build !race" {
				continue
			}
			for _, d := range f.Decls {
				f, ok := d.(*ast.FuncDecl)
				if !ok || !strings.HasPrefix(f.Name.Name, "Test") {
					continue
				}
				gates++
				if !strings.Contains(f.Name.Name, "Alloc") && !strings.Contains(f.Name.Name, "Instructions") {
					t.Errorf("%s: %s is built without the race detector only, and make test would not find it: name it ...Alloc... or ...Instructions...", name, f.Name.Name)
				}
			}
		}
	}
	if gates == 0 {
		t.Error("no test is built without the race detector: are the allocation gates gone?")
	}
}

// TestExpectedSkipsExist: a test that was renamed would leave its promise taken back.
func TestExpectedSkipsExist(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, ".ci", "expected-skips"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if len(words) != 2 {
			t.Errorf("expected-skips: %q is no package and test", line)
			continue
		}
		test, _, _ := strings.Cut(words[1], "/")
		names, err := filepath.Glob(filepath.Join(root, strings.TrimPrefix(words[0], module+"/"), "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(names, func(name string) bool {
			b, err := os.ReadFile(name)
			return err == nil && bytes.Contains(b, []byte("\nfunc "+test+"("))
		}) {
			t.Errorf("expected-skips: %s has no %s", words[0], test)
		}
	}
}
