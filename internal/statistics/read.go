package statistics

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// Read reads a document of this build. A key that is missing is an error and never a
// zero, as a zero is what its reader may want to see; so is one that is not known.
func Read(document []byte) (*Document, error) {
	var version struct {
		Schema json.Number `json:"schema"`
	}
	if err := json.Unmarshal(document, &version); err != nil {
		return nil, fmt.Errorf("read the statistics of verdictd: %w", err)
	}
	if version.Schema.String() != fmt.Sprint(Schema) {
		return nil, fmt.Errorf("the statistics of verdictd have schema %q, and this program knows %d: use programs of one build", version.Schema, Schema)
	}
	d := &Document{}
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(d); err != nil {
		return nil, fmt.Errorf("read the statistics of verdictd: %w: use programs of one build", err)
	}
	key, err := missing(document, d)
	if err != nil {
		return nil, fmt.Errorf("read the statistics of verdictd: %w", err)
	}
	if key != "" {
		return nil, fmt.Errorf("the statistics of verdictd have no %q: use programs of one build", key)
	}
	return d, nil
}

// missing finds a key that a document would have if it were written by this program.
func missing(document []byte, d *Document) (key string, err error) {
	again, err := json.Marshal(d)
	if err != nil {
		return "", err
	}
	var has, want any
	if err := json.Unmarshal(document, &has); err != nil {
		return "", err
	}
	if err := json.Unmarshal(again, &want); err != nil {
		return "", err
	}
	return lacks(has, want), nil
}

// lacks is the path to a key of the second value that the first one does not have.
func lacks(has, want any) string {
	switch want := want.(type) {
	case map[string]any:
		object, _ := has.(map[string]any)
		keys := make([]string, 0, len(want))
		for key := range want {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		for _, key := range keys {
			inner, ok := object[key]
			if !ok {
				return key
			}
			if path := lacks(inner, want[key]); path != "" {
				return key + "." + path
			}
		}
	case []any:
		list, _ := has.([]any)
		for i := range min(len(list), len(want)) {
			if path := lacks(list[i], want[i]); path != "" {
				return fmt.Sprintf("%d.%s", i, path)
			}
		}
	}
	return ""
}
