package service

import (
	"testing"

	"verdictd/internal/statistics"
	"verdictd/internal/testkit"
)

// Every test that stops a daemon holds its statistics against this.
const statisticsSchema = "verdictd-statistics"

// The schemas in docs are those of the types.
func TestSchemas(t *testing.T) {
	s := testkit.Of(t, "Statistics of verdictd", &statistics.Document{})
	testkit.Const(s, "schema", statistics.Schema)
	testkit.Hold(t, testkit.Schema(t, statisticsSchema), s)
}
