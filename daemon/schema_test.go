package main

import (
	"path/filepath"
	"testing"

	"verdictd/internal/statistics"
	"verdictd/internal/testkit"
)

// statisticsSchema is held by every test that stops a daemon.
var statisticsSchema = filepath.Join("..", "docs", "schema", "verdictd-statistics.json")

// The schemas in docs are those of the types.
func TestSchemas(t *testing.T) {
	s := testkit.Of(t, "Statistics of verdictd", &statistics.Document{})
	testkit.Const(s, "schema", statistics.Schema)
	testkit.Hold(t, statisticsSchema, s)
}
