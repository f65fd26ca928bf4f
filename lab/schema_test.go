package main

import (
	"encoding/json"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"verdictd/internal/report"
	"verdictd/internal/testkit"
	"verdictd/lab/internal/bench"
	"verdictd/lab/internal/bench/events"
	"verdictd/lab/internal/bench/queue"
	"verdictd/lab/internal/bench/send"
	"verdictd/lab/internal/dns"
	"verdictd/lab/internal/facts"
	"verdictd/lab/internal/faults"
	"verdictd/lab/internal/kernels/build"
	"verdictd/lab/internal/kernels/check"
	"verdictd/lab/internal/kernels/command"
	"verdictd/lab/internal/kernels/doctor"
	"verdictd/lab/internal/kernels/modload"
	"verdictd/lab/internal/kernels/procnet"
	"verdictd/lab/internal/kernels/trace"
	"verdictd/lab/internal/soak"
)

// labDocuments are what the lab's commands write with --json, by the names of their schemas, with the schema number
// of each.
var labDocuments = map[string]struct {
	document any
	schema   int
}{
	"matrix":        {&report.Report{}, report.Schema},
	"faults":        {&faults.Result{}, faults.Schema},
	"soak":          {&soak.Result{}, soak.Schema},
	"dns":           {&dns.Result{}, dns.Schema},
	"bench":         {&queue.Result{}, bench.Schema},
	"bench-latency": {&queue.LatencyResult{}, bench.Schema},
	"bench-scale":   {&queue.ScaleResult{}, bench.Schema},
	"bench-gate":    {&queue.GateResult{}, bench.Schema},
	"bench-events":  {&events.Result{}, bench.Schema},
	"bench-send":    {&send.Result{}, bench.Schema},
	"crash":         {&report.CrashReport{}, report.CrashSchema},
	"trace":         {&trace.Report{}, trace.Schema},
	"modload":       {&modload.Report{}, modload.Schema},
	"procnet":       {&procnet.Report{}, procnet.Schema},
	"check":         {&check.Report{}, check.Schema},
	"doctor":        {&doctor.Diagnosis{}, doctor.Schema},
	"build":         {&build.Document{}, build.Schema},
	"run":           {&command.Result{}, command.Schema},
	"facts":         {&facts.Document{}, facts.Schema},
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
	for name, d := range labDocuments {
		document := reflect.New(reflect.TypeOf(d.document).Elem())
		fill(document.Elem())
		document.Elem().FieldByName("Schema").SetInt(int64(d.schema))
		text, err := report.Encode(document.Interface())
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

// fill gives every pointer, list and map of a value something, so that every part of a document is there.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		value := reflect.New(v.Type().Elem()).Elem()
		fill(value)
		v.SetMapIndex(reflect.ValueOf("key").Convert(v.Type().Key()), value)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for _, field := range v.Fields() {
			if field.CanSet() {
				fill(field)
			}
		}
	}
}
