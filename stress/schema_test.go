package main

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/alecthomas/kong"

	"verdictd/internal/crash"
	"verdictd/internal/results"
	"verdictd/internal/testkit"
	"verdictd/stress/internal/compare"
)

// noResult are the commands that write no result file.
var noResult = []string{"compare", workCommand, holdCommand}

func schemaPath(t *testing.T, name string) string { return testkit.Schema(t, "stress-"+name) }

// The schemas in docs are those of the types.
func TestSchemas(t *testing.T) {
	parser, err := kong.New(&commands{}, kong.Name("stress"), clashDefaults(), dnsDefaults(), trafficDefaults(),
		floodDefaults(), soakDefaults(), procnetDefaults())
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range parser.Model.Children {
		if _, ok := results.Figures()[command.Name]; !ok && !slices.Contains(noResult, command.Name) {
			t.Errorf("stress %s has no entry in results.Figures", command.Name)
		}
	}
	for scenario, result := range results.Figures() {
		schema := testkit.Of(t, "Result file of stress "+scenario, &results.Header{}, &crash.Findings{}, result)
		testkit.Const(schema, "scenario", scenario)
		testkit.Hold(t, schemaPath(t, scenario), schema)
	}
}

// The comparison of results is a document as well.
func TestSchemaOfComparison(t *testing.T) {
	schema := testkit.Of(t, "Comparison of stress compare", &compare.Comparison{})
	testkit.Const(schema, "schema", 1)
	testkit.Hold(t, schemaPath(t, "compare"), schema)
}

// checkSchema validates a result file against the schema in docs. Whoever tests a scenario calls it.
func checkSchema(t *testing.T, scenario string, document []byte) {
	t.Helper()
	if err := testkit.Validate(t, schemaPath(t, scenario), document); err != nil {
		t.Errorf("the result of %s does not follow its schema: %v", scenario, err)
	}
}

func TestClashFollowsItsSchema(t *testing.T) {
	for _, more := range [][]string{nil, {"--echo", "--pace", "rate:2000"}, {"--mode", "sendmmsg", "--family", "ipv6"}} {
		got := stress(within(testkit.Namespace(t), append(more, "--json", "-")...)...)
		if got.status != 0 {
			t.Fatalf("%+v", got)
		}
		checkSchema(t, "clash", []byte(got.stdout))
	}
}

func TestSchemaCatchesAWrongResult(t *testing.T) {
	got := stress(within(testkit.Namespace(t), "--json", "-")...)
	for name, spoil := range map[string]func(map[string]any){
		"a key is missing": func(d map[string]any) { delete(d, "lost") },
		"a wrong type":     func(d map[string]any) { d["lost"] = "none" },
		"another scenario": func(d map[string]any) { d["scenario"] = "dns" },
	} {
		document := decode(t, got.stdout)
		spoil(document)
		text, err := json.Marshal(document)
		if err != nil {
			t.Fatal(err)
		}
		if testkit.Validate(t, schemaPath(t, "clash"), text) == nil {
			t.Errorf("%s: the schema lets it pass", name)
		}
	}
}
