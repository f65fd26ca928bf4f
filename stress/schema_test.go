package main

import (
	"bytes"
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

	"github.com/alecthomas/kong"
	generate "github.com/invopop/jsonschema"
	validate "github.com/santhosh-tekuri/jsonschema/v6"

	"verdictd/internal/crash"
	"verdictd/internal/dnsload"
	"verdictd/internal/kernel/kerneltest"
	"verdictd/internal/load"
	"verdictd/internal/modload"
	"verdictd/internal/procnet"
	"verdictd/internal/provenance"
)

// update makes TestSchemas write the schemas: go test ./stress -run TestSchemas -update
var update = flag.Bool("update", false, "write docs/schema")

// results are what the scenarios write behind the header, by the scenarios' names.
var results = map[string]any{
	"clash":    &clashResult{},
	"udpclash": &udpClashResult{},
	"dns":      &dnsload.Result{},
	"flood":    &floodResult{},
	"soak":     &load.SoakResult{},
	"modload":  &modload.Result{},
	"procnet":  &procnet.Result{},
}

// noResult are the commands that write no result file.
var noResult = []string{"compare", workCommand, holdCommand}

func schemaPath(scenario string) string {
	return filepath.Join("..", "docs", "schema", "stress-"+scenario+".json")
}

// schemaOf describes the header, what the kernel did and the result in one object, as provenance.Document writes them. The types' comments
// become descriptions.
func schemaOf(t *testing.T, scenario string, result any) []byte {
	t.Helper()
	r := &generate.Reflector{
		DoNotReference: true, AllowAdditionalProperties: true, Anonymous: true, Mapper: mapped,
		CommentMap: comments(t),
	}
	whole := r.Reflect(&provenance.Header{})
	adjust(reflect.TypeFor[provenance.Header](), whole)
	for _, value := range []any{&crash.Findings{}, result} {
		part := r.Reflect(value)
		adjust(reflect.TypeOf(value).Elem(), part)
		for pair := part.Properties.Oldest(); pair != nil; pair = pair.Next() {
			whole.Properties.Set(pair.Key, pair.Value)
		}
		whole.Required = append(whole.Required, part.Required...)
	}
	whole.Title = "Result file of stress " + scenario
	scenarioKey, _ := whole.Properties.Get("scenario")
	scenarioKey.Const = scenario
	b, err := json.MarshalIndent(whole, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}

// comments are the doc comments of the packages whose types are in results, read once.
var commentMap map[string]string

func comments(t *testing.T) map[string]string {
	t.Helper()
	if commentMap == nil {
		r := &generate.Reflector{}
		if err := r.AddGoComments("verdictd/stress", "../internal", generate.WithFullComment()); err != nil {
			t.Fatal(err)
		}
		commentMap = map[string]string{}
		for name, text := range r.CommentMap {
			commentMap[strings.Replace(name, "verdictd/stress/../", "verdictd/", 1)] = strings.Join(strings.Fields(text), " ")
		}
	}
	return commentMap
}

// adjust teaches a schema what encoding/json does to a struct: the fields of an embedded pointer may be missing, and what
// can be nil may be null.
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
		case property.Items != nil && property.Items.Properties != nil:
			adjust(inner, property.Items)
		case property.Properties != nil && !inner.Implements(reflect.TypeFor[json.Marshaler]()):
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
	if t.Kind() != reflect.Struct || !t.Implements(reflect.TypeFor[json.Marshaler]()) {
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

// The schemas in docs are those of the types.
func TestSchemas(t *testing.T) {
	parser, err := kong.New(&commands{}, kong.Name("stress"), clashDefaults(), dnsDefaults(), loadDefaults(), floodDefaults(), soakDefaults(), procnetDefaults())
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range parser.Model.Children {
		if _, ok := results[command.Name]; !ok && !slices.Contains(noResult, command.Name) {
			t.Errorf("stress %s has no entry in results", command.Name)
		}
	}
	for scenario, result := range results {
		want := schemaOf(t, scenario, result)
		path := schemaPath(scenario)
		if *update {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what the types say (%v): go test ./stress -run TestSchemas -update", path, err)
		}
	}
}

// checkSchema validates a result file against the schema in docs. Whoever tests a scenario calls it.
func checkSchema(t *testing.T, scenario string, document []byte) {
	t.Helper()
	schema, err := validate.NewCompiler().Compile(schemaPath(scenario))
	if err != nil {
		t.Fatal(err)
	}
	v, err := validate.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(v); err != nil {
		t.Errorf("the result of %s does not follow its schema: %v", scenario, err)
	}
}

func TestClashFollowsItsSchema(t *testing.T) {
	for _, more := range [][]string{nil, {"--echo", "--pace", "rate:2000"}, {"--mode", "sendmmsg", "--family", "ipv6"}} {
		got := stress(within(kerneltest.Namespace(t), append(more, "--json", "-")...)...)
		if got.status != 0 {
			t.Fatalf("%+v", got)
		}
		checkSchema(t, "clash", []byte(got.stdout))
	}
}

func TestSchemaCatchesAWrongResult(t *testing.T) {
	got := stress(within(kerneltest.Namespace(t), "--json", "-")...)
	schema, err := validate.NewCompiler().Compile(schemaPath("clash"))
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(map[string]any){
		"a key is missing": func(d map[string]any) { delete(d, "lost") },
		"a wrong type":     func(d map[string]any) { d["lost"] = "none" },
		"another scenario": func(d map[string]any) { d["scenario"] = "dns" },
	} {
		document := decode(t, got.stdout)
		spoil(document)
		if schema.Validate(document) == nil {
			t.Errorf("%s: the schema lets it pass", name)
		}
	}
}
