package config

import (
	"bytes"
	"errors"
	"reflect"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Parse reads a file's content; name stands for it in errors. The error joins
// one *KeyError for each thing that is wrong, in the order of the lines. It reads no other
// files, and so refuses policy.include.
func Parse(name string, data []byte) (*Config, error) {
	_, c, err := parse(name, data, nil)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// reader gives the content of a file.
type reader func(path string) ([]byte, error)

// parse gives what it could read, whatever else is wrong. Without a reader, included files are refused and named ones
// not looked for.
func parse(name string, data []byte, read reader) (*file, *Config, error) {
	f := newFile(name)
	c := Default()
	if f.document(data, reflect.ValueOf(c).Elem()) {
		f.include(&c.Policy, read)
		f.check(c)
		if read != nil {
			f.checkFiles(c)
		}
		return f, c, f.err()
	}
	return f, nil, f.err()
}

// Syntax takes a text in YAML apart that is no configuration, with the bounds of one; name stands for it in errors.
func Syntax(name string, data []byte) (*ast.File, error) {
	f := newFile(name)
	parsed, _ := f.syntax(data)
	return parsed, f.err()
}

// syntax reports false where there is nothing to look at.
func (f *file) syntax(data []byte) (*ast.File, bool) {
	data, other := decodeMark(data)
	if other != "" {
		f.report("", nil, "is in %s: save it as UTF-8", other)
		return nil, false
	}
	// Keys that are written twice are found later, together with the rest.
	tokens := lexer.Tokenize(string(data))
	if at := tooDeep(tokens); at != nil {
		f.report("", at, "lists or sections are more than %d deep", maxDepth)
		return nil, false
	}
	parsed, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		where, message := syntaxOf(err)
		f.report("", where, "not YAML: %s", message)
		return nil, false
	}
	return parsed, true
}

// document decodes a text with one document into v. It reports false where there is nothing to check.
func (f *file) document(data []byte, v reflect.Value) bool {
	parsed, ok := f.syntax(data)
	if !ok {
		return false
	}
	seen := false
	for _, document := range parsed.Docs {
		if document.Body == nil || document.Body.Type() == ast.CommentType {
			continue
		}
		if seen {
			f.report("", position(document.Body), "a second document begins: write one")
			break
		}
		seen = true
		f.decode("", document.Body, v)
	}
	return true
}

// decodeMark takes a byte order mark off, which editors put before UTF-8 and which YAML allows there. The marks of
// other encodings name these.
func decodeMark(data []byte) (text []byte, other string) {
	switch {
	case bytes.HasPrefix(data, []byte("\xff\xfe\x00\x00")), bytes.HasPrefix(data, []byte("\x00\x00\xfe\xff")):
		return nil, "UTF-32"
	case bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("\xfe\xff")):
		return nil, "UTF-16"
	}
	return bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), ""
}

// maxDepth bounds what may be within what on one line: goccy/go-yaml goes into itself for each bracket and dash, and a
// stack that has no more room ends a program at once. Indentation needs no bound, as it takes n bytes to be n deep.
const maxDepth = 64

// tooDeep is where something is deeper than maxDepth, or nil.
func tooDeep(tokens token.Tokens) *token.Position {
	brackets, dashes := 0, 0
	for _, t := range tokens {
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			brackets++
		case token.SequenceEndType, token.MappingEndType:
			brackets--
		case token.SequenceEntryType:
			dashes++
		default:
			dashes = 0
		}
		if brackets > maxDepth || dashes > maxDepth {
			return t.Position
		}
	}
	return nil
}

// syntaxOf takes a parser's error apart.
func syntaxOf(err error) (*token.Position, string) {
	e, ok := errors.AsType[yaml.Error](err)
	if !ok || e.GetToken() == nil {
		return nil, err.Error()
	}
	return e.GetToken().Position, e.GetMessage()
}
