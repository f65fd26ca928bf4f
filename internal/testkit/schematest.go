package testkit

import (
	"bytes"
	"encoding"
	"encoding/json"
	"flag"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	generate "github.com/invopop/jsonschema"
	validate "github.com/santhosh-tekuri/jsonschema/v6"

	"verdictd/internal/kernelfacts"
)

// update makes Hold write the schemas: go test ./stress ./lab -run TestSchemas -update
var update = flag.Bool("update", false, "write docs/schema")

// Of describes values, each a pointer to a struct, as one object: keys of all of them. The first one's comment is the
// object's.
func Of(t *testing.T, title string, values ...any) *generate.Schema {
	t.Helper()
	r := &generate.Reflector{
		DoNotReference: true, AllowAdditionalProperties: true, Anonymous: true, Mapper: mapped, CommentMap: comments(t),
	}
	var whole *generate.Schema
	for _, value := range values {
		part := r.Reflect(value)
		adjust(reflect.TypeOf(value).Elem(), part)
		if whole == nil {
			whole = part
			continue
		}
		for pair := part.Properties.Oldest(); pair != nil; pair = pair.Next() {
			whole.Properties.Set(pair.Key, pair.Value)
		}
		whole.Required = append(whole.Required, part.Required...)
	}
	whole.Title = title
	return whole
}

// Const fixes the value of a key.
func Const(s *generate.Schema, key string, value any) {
	if property, ok := s.Properties.Get(key); ok {
		property.Const = value
	}
}

// Hold compares a schema with its file, or writes that.
func Hold(t *testing.T, path string, s *generate.Schema) {
	t.Helper()
	want, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not what the types say (%v): run this test with -update", path, err)
	}
}

// Validate holds a document against the schema in a file.
func Validate(t *testing.T, path string, document []byte) error {
	t.Helper()
	schema, err := validate.NewCompiler().Compile(path)
	if err != nil {
		t.Fatal(err)
	}
	v, err := validate.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		t.Fatal(err)
	}
	return schema.Validate(v)
}

// Schema is the file in docs/schema that describes the documents of a name, such as stress-clash.
func Schema(t *testing.T, name string) string {
	t.Helper()
	root, _ := moduleRoot(t)
	return filepath.Join(root, "docs", "schema", name+".json")
}

// moduleRoot is the folder of the module, and the test's own below it.
func moduleRoot(t *testing.T) (root, here string) {
	t.Helper()
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for root = folder; ; root = filepath.Dir(root) {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		if root == filepath.Dir(root) {
			t.Fatalf("%s is in no module", folder)
		}
	}
	here, err = filepath.Rel(root, folder)
	if err != nil {
		t.Fatal(err)
	}
	return root, here
}

// commentMap are the doc comments of the shared packages and of the command's that the test belongs to, read once.
var commentMap map[string]string

func comments(t *testing.T) map[string]string {
	t.Helper()
	if commentMap != nil {
		return commentMap
	}
	root, here := moduleRoot(t)
	// The generator's names are those of the folders, as seen from the module's root.
	t.Chdir(root)
	defer t.Chdir(filepath.Join(root, here))
	commentMap = map[string]string{}
	command, _, _ := strings.Cut(filepath.ToSlash(here), "/")
	for _, folder := range []string{"internal", command} {
		r := &generate.Reflector{}
		if err := r.AddGoComments("verdictd", folder, generate.WithFullComment()); err != nil {
			t.Fatal(err)
		}
		for name, text := range r.CommentMap {
			name = strings.Replace(name, "verdictd/"+command+".", "main.", 1) // as reflection calls a command's package
			commentMap[name] = strings.Join(strings.Fields(text), " ")
		}
	}
	return commentMap
}

// adjust teaches a schema what encoding/json does to a struct: the fields of an embedded pointer may be missing, and
// what can be nil may be null.
func adjust(t reflect.Type, s *generate.Schema) {
	for f := range t.Fields() {
		key, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && key == "" {
			embedded := f.Type
			if embedded.Kind() == reflect.Pointer {
				embedded = embedded.Elem()
				for g := range embedded.Fields() {
					key, _, _ := strings.Cut(g.Tag.Get("json"), ",")
					s.Required = slices.DeleteFunc(s.Required, func(r string) bool { return r == key })
				}
			}
			adjust(embedded, s)
			continue
		}
		property, ok := s.Properties.Get(key)
		if !ok {
			continue
		}
		inner := f.Type
		switch inner.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			inner = inner.Elem()
		}
		switch {
		case inner.Kind() != reflect.Struct:
		case inner.Implements(reflect.TypeFor[json.Marshaler]()):
		case property.Items != nil && property.Items.Properties != nil:
			adjust(inner, property.Items)
		case property.Properties != nil:
			adjust(inner, property)
		}
		if inner != f.Type && !strings.Contains(options, "omit") {
			s.Properties.Set(key, &generate.Schema{
				Description: property.Description,
				AnyOf:       []*generate.Schema{property, {Type: "null"}},
			})
			property.Description = ""
		}
	}
}

// mapped are types that do not marshal as their fields tell: what they marshal to tells.
func mapped(t reflect.Type) *generate.Schema {
	switch t {
	case reflect.TypeFor[netip.Addr](), reflect.TypeFor[netip.AddrPort]():
		return &generate.Schema{Type: "string"}
	case reflect.TypeFor[time.Time]():
		return nil
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Array, reflect.Map:
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Int:
		if t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
			return &generate.Schema{Type: "string"}
		}
		return nil
	default:
		return nil
	}
	if !t.Implements(reflect.TypeFor[json.Marshaler]()) {
		return nil
	}
	b, err := json.Marshal(reflect.Zero(t).Interface())
	var v any
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	if err != nil {
		panic(err)
	}
	if t.PkgPath() == reflect.TypeFor[kernelfacts.Reading[int]]().PkgPath() && strings.HasPrefix(t.Name(), "Reading[") {
		unreadable := shape(map[string]any{"unreadable": ""})
		return &generate.Schema{AnyOf: []*generate.Schema{shape(v), unreadable}}
	}
	return shape(v)
}

// shape is the schema of a value; of a null nothing is known.
func shape(v any) *generate.Schema {
	switch v := v.(type) {
	case map[string]any:
		s := &generate.Schema{Type: "object", Properties: generate.NewProperties()}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			s.Properties.Set(key, shape(v[key]))
			s.Required = append(s.Required, key)
		}
		return s
	case []any:
		return &generate.Schema{Type: "array"}
	case string:
		return &generate.Schema{Type: "string"}
	case float64:
		return &generate.Schema{Type: "number"}
	case bool:
		return &generate.Schema{Type: "boolean"}
	}
	return generate.TrueSchema
}
