package audit

import (
	"testing"

	"verdictd/internal/testkit"
)

const schemaName = "verdictd-audit"

// The schemas in docs are those of the types.
func TestSchemas(t *testing.T) {
	s := testkit.Of(t, "Report of verdictd audit", &Report{})
	testkit.Const(s, "schema", schema)
	testkit.Hold(t, testkit.Schema(t, schemaName), s)
}

// follows holds a report against its schema.
func follows(t *testing.T, document []byte) {
	t.Helper()
	if err := testkit.Validate(t, testkit.Schema(t, schemaName), document); err != nil {
		t.Errorf("it does not follow its schema: %v\n%s", err, document)
	}
}
