package main

import (
	"encoding/json"
	"strings"
	"testing"

	"verdictd/conntrackwatch/internal/events"
	"verdictd/conntrackwatch/internal/live"
	"verdictd/conntrackwatch/internal/stats"
	"verdictd/conntrackwatch/internal/trace"
	"verdictd/internal/testkit"
)

// documents are what the commands print with --json, by the names of their schemas.
var documents = map[string]any{
	"stats": &stats.Result{}, "events": &events.Result{}, "live": &live.Sample{}, "trace": &trace.Summary{}, "clash": &trace.Line{},
}

// The schemas in docs are those of the types.
func TestSchemas(t *testing.T) {
	for name, document := range documents {
		schema := testkit.Of(t, "Document of conntrackwatch: "+name, document)
		testkit.Const(schema, "schema", 1)
		testkit.Hold(t, testkit.Schema(t, "conntrackwatch-"+name), schema)
	}
}

// followsSchema holds a document against its schema.
func followsSchema(t *testing.T, name, document string) {
	t.Helper()
	if err := testkit.Validate(t, testkit.Schema(t, "conntrackwatch-"+name), []byte(document)); err != nil {
		t.Errorf("%s does not follow its schema: %v", document, err)
	}
}

func TestDocumentsFollowTheirSchemas(t *testing.T) {
	testkit.Namespace(t)
	for name, args := range map[string]string{
		"stats":  "stats --json --interval 50ms --duration 80ms",
		"events": "events --json --duration 100ms",
		"live":   "live --json --interval 50ms --duration 80ms",
	} {
		got := command(t.Context(), strings.Fields(args)...)
		for d := json.NewDecoder(strings.NewReader(got.stdout)); d.More(); {
			var document json.RawMessage
			if err := d.Decode(&document); err != nil {
				t.Fatalf("%s: %v in %+v", name, err, got)
			}
			followsSchema(t, name, string(document))
		}
	}
	followsSchema(t, "events", watch(t, 20, "events", "--json").stdout)
	encode := func(document any) string {
		text, err := json.Marshal(document)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	followsSchema(t, "clash", encode(trace.Line{Kind: trace.KindClash, Clash: trace.Clash{Winner: &trace.Entry{}}}))
	followsSchema(t, "clash", encode(trace.Line{Kind: trace.KindClash}))
	followsSchema(t, "trace", encode(trace.NewSummary("1", "6.1", 0, []trace.Probe{{Function: "f", Method: trace.Kprobe}})))
}
