package compare

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"verdictd/internal/results"
)

// A kind is a document that can be compared.
type kind struct {
	// name is the scenario of stress, or the command of the lab.
	name   string
	schema int
	// list is the key under which a document has several runs, and identity what tells these from each other; empty:
	// the document is one run.
	list     string
	identity []string
}

// kinds are those that are known. Their schemas are held against docs/schema by a test.
var kinds = []kind{
	{name: "clash", schema: results.Schema}, {name: "udpclash", schema: results.Schema}, {name: "dns", schema: results.Schema}, {name: "flood", schema: results.Schema},
	{name: "modload", schema: results.Schema}, {name: "procnet", schema: results.Schema}, {name: "soak", schema: results.Schema},
	{name: "lab matrix", schema: 2, list: "runs", identity: []string{"placement", "fanout", "guard", "program", "backend", "events", "family", "nat", "traffic"}},
	{name: "lab bench", schema: 1, list: "samples", identity: []string{"variant"}},
	{name: "lab soak", schema: 2, list: "shares", identity: []string{"placement", "fanout", "nat", "guard", "program"}},
	{name: "lab crash", schema: 2, list: "rows", identity: []string{"kernel", "placement", "guard", "program", "events"}},
}

// kindOf finds the kind of a document. What it does not know it refuses: a figure may mean something else there.
func kindOf(document map[string]any) (*kind, error) {
	schema, ok := document["schema"].(float64)
	if !ok {
		return nil, errors.New(`it has no number "schema": want what stress or lab wrote with --json`)
	}
	scenario, _ := document["scenario"].(string)
	i := slices.IndexFunc(kinds, func(k kind) bool {
		if k.list == "" {
			return scenario == k.name
		}
		_, has := document[k.list].([]any)
		return has && scenario == ""
	})
	switch {
	case i < 0 && scenario != "":
		return nil, fmt.Errorf("its scenario %q is none that can be compared: %s", scenario, names())
	case i < 0:
		return nil, fmt.Errorf("it is no result that can be compared: those are of %s", names())
	case int(schema) != kinds[i].schema:
		return nil, fmt.Errorf("it is a result of %s with schema %g, and this program knows schema %d: compare it with the program that wrote it",
			kinds[i].name, schema, kinds[i].schema)
	}
	return &kinds[i], nil
}

func names() string {
	var list []string
	for _, k := range kinds {
		list = append(list, k.name)
	}
	return strings.Join(list, ", ")
}
