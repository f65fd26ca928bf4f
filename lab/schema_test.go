package main

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"verdictd/internal/report"
	"verdictd/internal/testkit"
)

// labDocuments are what the lab's commands write with --json, by the names of their schemas, with the schema number of each.
var labDocuments = map[string]struct {
	document any
	schema   int
}{
	"matrix": {&report.Report{}, report.Schema},
	"crash":  {&report.CrashReport{}, report.CrashSchema},
	"soak":   {&soakResult{}, soakSchema},
	"dns":    {&dnsResult{}, dnsSchema},
	"bench":  {&benchResult{}, benchSchema},
	"check":  {&checkReport{}, 1},
}

func labSchemaPath(name string) string {
	return filepath.Join("..", "docs", "schema", "lab-"+name+".json")
}

// The schemas in docs are those of the types.
func TestSchemas(t *testing.T) {
	for name, d := range labDocuments {
		schema := testkit.Of(t, "Document of lab "+name, d.document)
		testkit.Const(schema, "schema", d.schema)
		testkit.Hold(t, labSchemaPath(name), schema)
	}
}

// followsSchema holds a document of the lab against its schema.
func followsSchema(t *testing.T, name string, document []byte) {
	t.Helper()
	if err := testkit.Validate(t, labSchemaPath(name), document); err != nil {
		t.Errorf("it does not follow its schema: %v", err)
	}
}

// Documents made of full values follow, and one that lacks a key does not.
func TestDocumentsFollowTheirSchemas(t *testing.T) {
	full := report.Run{
		Placement: "output", Guard: report.GuardHold, Program: report.ProgramVerdictd, Traffic: report.TrafficUDP, QueuePackets: []uint64{1},
		Echo: &report.Echo{}, VerdictLatencyUS: &report.Latency{}, RSSKiB: &report.Memory{}, CPUUSPerPacket: new(float64), Error: "none",
	}
	full.SetGate(&report.Gate{Held: 3})
	for name, document := range map[string]any{
		"matrix": report.Report{Schema: report.Schema, Host: report.Host{Versions: map[string]string{}}, Runs: []report.Run{full, {}}, Notes: []string{}},
		"crash":  report.CrashReport{Schema: report.CrashSchema, Rows: []report.CrashRow{{Run: full}}, Summary: []report.CrashSum{{}}},
		"soak":   soakResult{Schema: soakSchema, Shares: []soakShare{cleanShare(), {}}},
		"dns":    dnsResult{Schema: dnsSchema, Runs: []dnsRun{{}}},
		"bench":  *judged(t, "mmsg/c<=0.5"),
		"check":  checkReport{Schema: 1, Checks: []checked{{}}},
	} {
		if b, ok := document.(benchResult); ok {
			b.Schema = benchSchema
			document = b
		}
		text, err := report.Encode(document)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) { followsSchema(t, name, text) })
		var loose map[string]any
		if err := json.Unmarshal(text, &loose); err != nil {
			t.Fatal(err)
		}
		delete(loose, "schema")
		if text, err = json.Marshal(loose); err != nil {
			t.Fatal(err)
		}
		if testkit.Validate(t, labSchemaPath(name), text) == nil {
			t.Errorf("%s: the schema lets a document without its number pass", name)
		}
	}
}
