package report

import (
	"encoding/json"
	"fmt"
)

// Encode is a document as the lab writes it.
func Encode(document any) ([]byte, error) {
	b, err := json.MarshalIndent(document, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode the result: %w", err)
	}
	return append(b, '\n'), nil
}
