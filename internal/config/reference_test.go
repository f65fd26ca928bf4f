package config

import (
	"encoding"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"verdictd/internal/vocabulary"
)

const (
	reference = "../../docs/policy.md"
	// generated begins the part of the reference that is made from the structs.
	generated = "<!-- From here on made from internal/config; make reference writes it again. -->\n"
)

// ruleKeys begin keys whose examples are keys of a rule.
const ruleKeys = "policy.rules[]."

// forms are what values look like, by their types.
var forms = map[reflect.Type]string{
	reflect.TypeFor[Prefix]():              "a prefix, or `@SET` of prefixes",
	reflect.TypeFor[Ports]():               "a port, a range of ports, or `@SET` of ports",
	reflect.TypeFor[Pair]():                "an address with a port, or `@SET` of pairs",
	reflect.TypeFor[Name]():                "`example.org` (it and all below it), `*.example.org` (all below it), `=example.org` (it alone), or `@SET` of names",
	reflect.TypeFor[Interface]():           "a name, with `*` at its end or not",
	reflect.TypeFor[Mark]():                "a value, or `VALUE/MASK`",
	reflect.TypeFor[Range]():               "a number, or a range",
	reflect.TypeFor[DSCP]():                "`ef`, `voice-admit`, `le`, `cs0` to `cs7`, `af11` to `af43`, or a number from 0 to 63",
	reflect.TypeFor[DNSType]():             "a type's name, or its number",
	reflect.TypeFor[Hex]():                 "hexadecimal digits",
	reflect.TypeFor[Rate]():                "`NUMBER/s`, `/m` or `/h`",
	reflect.TypeFor[Clock]():               "`HH:MM`",
	reflect.TypeFor[Entry]():               "what the set's type has",
	reflect.TypeFor[vocabulary.Action]():   "an action",
	reflect.TypeFor[vocabulary.Protocol](): "a name such as `udp` or `tcp`, or a number",
	reflect.TypeFor[time.Duration]():       "a duration",
	reflect.TypeFor[Match]():               "keys of a match",
	reflect.TypeFor[string]():              "text",
	reflect.TypeFor[bool]():                "`true` or `false`",
}

// form is what a value looks like.
func form(of reflect.Type) string {
	if text, ok := forms[of]; ok {
		return text
	}
	if words, ok := reflect.TypeAssert[named](reflect.Zero(of)); ok {
		return "one of `" + strings.Join(words.Values(), "`, `") + "`"
	}
	switch of.Kind() {
	case reflect.Slice:
		return "list; each " + form(of.Elem())
	case reflect.Pointer:
		return form(of.Elem())
	case reflect.Struct:
		return "section"
	}
	return "a number"
}

// comments are those of the fields of the package's structs, by type and field.
func comments(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, name := range []string{"policy.go", "match.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			fields, ok := spec.Type.(*ast.StructType)
			if !ok {
				return true
			}
			for _, f := range fields.Fields.List {
				for _, field := range f.Names {
					texts[spec.Name.Name+"."+field.Name] = strings.Join(strings.Fields(f.Doc.Text()), " ")
				}
			}
			return true
		})
	}
	return texts
}

// documented is a key of the reference.
type documented struct {
	key, text, form, def string
	leaf                 bool
}

// keysOf lists the keys of a struct, those of matches within matches only once.
func keysOf(t *testing.T, key string, of reflect.Type, def reflect.Value, texts map[string]string) (list []documented) {
	t.Helper()
	for i := range of.NumField() {
		field := of.Field(i)
		name, inline := yamlKey(field)
		value := reflect.Value{}
		if def.IsValid() {
			value = def.Field(i)
		}
		if inline {
			list = append(list, keysOf(t, key, field.Type, value, texts)...)
			continue
		}
		path, inner, marker := strings.TrimPrefix(key+"."+name, "."), field.Type, ""
		d := documented{key: path, text: texts[of.Name()+"."+field.Name], form: form(field.Type), def: defaultOf(t, field.Type, value), leaf: true}
		if d.text == "" {
			t.Errorf("%s.%s has no comment, and so %s no words in the reference", of.Name(), field.Name, path)
		}
		d.text = "`" + name + "`" + strings.TrimPrefix(d.text, field.Name)
		for inner.Kind() == reflect.Slice || inner.Kind() == reflect.Pointer {
			if inner.Kind() == reflect.Slice {
				marker, value = "[]", reflect.Value{}
			}
			inner = inner.Elem()
		}
		_, text := reflect.TypeAssert[encoding.TextUnmarshaler](reflect.New(inner))
		if inner.Kind() != reflect.Struct || text || inner == reflect.TypeFor[Match]() {
			list = append(list, d)
			continue
		}
		if field.Type.Kind() == reflect.Pointer {
			target := reflect.New(inner)
			if d, ok := reflect.TypeAssert[defaulter](target); ok {
				d.setDefaults()
			}
			value = target.Elem()
		}
		d.leaf = field.Type.Kind() == reflect.Pointer
		list = append(append(list, d), keysOf(t, path+marker, inner, value, texts)...)
	}
	return list
}

// defaultOf is a default as a file has it; "" where there is none to speak of.
func defaultOf(t *testing.T, of reflect.Type, v reflect.Value) string {
	t.Helper()
	if !v.IsValid() || v.Kind() == reflect.Struct || v.Kind() == reflect.Pointer {
		return ""
	}
	if m, ok := reflect.TypeAssert[encoding.TextMarshaler](v); ok {
		text, err := m.MarshalText()
		if err != nil {
			return ""
		}
		return string(text)
	}
	switch {
	case of.Kind() == reflect.String && v.String() == "", of.Kind() == reflect.Slice && v.Len() == 0:
		return ""
	}
	return fmt.Sprint(v.Interface())
}

// section is what the reference has of keys.
func section(t *testing.T, list []documented) string {
	t.Helper()
	var text strings.Builder
	for _, d := range list {
		value := "Value: " + d.form + "."
		if d.def != "" {
			value += " Default: `" + d.def + "`."
		}
		fmt.Fprintf(&text, "\n### %s\n\n%s\n\n%s\n", d.key, wrapped(d.text), wrapped(value))
		if example, ok := examples[d.key]; ok {
			// Who reads the documents' blocks of YAML takes them for files.
			language := "yaml"
			if strings.HasPrefix(d.key, ruleKeys) || d.key == "policy.include" {
				language = ""
			}
			fmt.Fprintf(&text, "\n```%s\n%s\n```\n", language, example)
		}
	}
	return text.String()
}

// wrapped is a text in lines of at most 110 bytes.
func wrapped(text string) string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > 110 {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	return strings.Join(append(lines, line), "\n")
}

func documentedKeys(t *testing.T) []documented {
	t.Helper()
	return keysOf(t, "policy", reflect.TypeFor[Policy](), reflect.ValueOf(Default().Policy), comments(t))
}

// TestReferenceIsOfThisPackage: the reference says of each key what the struct does.
func TestReferenceIsOfThisPackage(t *testing.T) {
	text, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	head, got, found := strings.Cut(string(text), generated)
	if !found {
		t.Fatalf("%s has no line %s", reference, generated)
	}
	want := section(t, documentedKeys(t))
	if os.Getenv("WRITE_REFERENCE") != "" {
		if err := os.WriteFile(reference, []byte(head+generated+want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s is behind the structs: make reference (-struct +file)\n%s", reference, diff)
	}
}

// TestEveryKeyHasAnExample: each is a file that is right, or keys of a rule, and has the key.
func TestEveryKeyHasAnExample(t *testing.T) {
	used := map[string]bool{}
	for _, d := range documentedKeys(t) {
		text, ok := examples[d.key]
		used[d.key] = true
		if !ok {
			if d.leaf {
				t.Errorf("%s has no example", d.key)
			}
			continue
		}
		f, _, err := parse(d.key, []byte(wholeFile(d.key, text)), nil)
		if err != nil && d.key != "policy.include" {
			t.Errorf("%s: %v", d.key, err)
			continue
		}
		pattern := regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(d.key), `\[\]`, `\[\d+\]`) + "$")
		written := false
		for key := range f.at {
			written = written || pattern.MatchString(key)
		}
		if !written {
			t.Errorf("the example of %s does not have it:\n%s", d.key, text)
		}
	}
	for key := range examples {
		if !used[key] {
			t.Errorf("an example of %s, which does not exist", key)
		}
	}
}

// wholeFile is a file with an example: keys of a rule get one that has what these name.
func wholeFile(key, text string) string {
	if !strings.HasPrefix(key, ruleKeys) {
		return text
	}
	if !regexp.MustCompile(`(?m)^action:`).MatchString(text) {
		text = "action: drop\n" + text
	}
	return "policy:\n  samples: {directory: /var/lib/verdictd}\n  sets:\n    - {name: blocked, type: names, entries: [example.org]}\n  rules:\n    -\n      " +
		strings.ReplaceAll(text, "\n", "\n      ") + "\n"
}
