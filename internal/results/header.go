package results

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Header is the beginning of a result file.
type Header struct {
	// Schema grows when a key changes its meaning or goes away; keys may be added without it.
	Schema int `json:"schema"`
	// Tool and Scenario say what made the file, Version which build of it.
	Tool     string `json:"tool"`
	Scenario string `json:"scenario"`
	Version  string `json:"version"`
	// Command is the command line. Where a seed was left open, the rest of the file has the one that was drawn.
	Command []string  `json:"command"`
	Started time.Time `json:"started"`
	// Incomplete says that the program had not come to its end when it wrote this: a file that stays so is what a crash
	// left.
	Incomplete bool `json:"incomplete,omitempty"`

	Host Host `json:"host"`
	// Namespaces are those that existed before the run. Namespaces that a scenario makes are described by its
	// configuration.
	Namespaces []Namespace `json:"namespaces"`
}

// Schema is the version of stress's result files.
const Schema = 1

// Read is the header of a run that begins now.
func Read(tool, scenario, version string, command []string, places ...Place) (*Header, error) {
	h := &Header{Schema: Schema, Tool: tool, Scenario: scenario, Version: version, Command: command, Started: time.Now()}
	var err error
	if h.Host, err = ReadHost(); err != nil {
		return nil, fmt.Errorf("look at this machine: %w", err)
	}
	h.Namespaces, err = ReadNamespaces(places...)
	return h, err
}

// Document is one JSON object, indented, of the header's fields and then those of the parts, in their order. Each must
// be an object in JSON: a struct, a pointer to one, or raw text.
func Document(h *Header, parts ...any) ([]byte, error) {
	var joined []byte
	for i, part := range append([]any{h}, parts...) {
		encoded, err := json.Marshal(part)
		if err != nil {
			return nil, fmt.Errorf("encode a result: %w", err)
		}
		if len(encoded) < 2 || encoded[0] != '{' {
			return nil, fmt.Errorf("encode a result: a %T is no object in JSON", part)
		}
		switch {
		case i == 0:
			joined = encoded
		case !bytes.Equal(encoded, []byte("{}")):
			joined = slices.Concat(joined[:len(joined)-1], []byte{','}, encoded[1:])
		}
	}
	var out bytes.Buffer
	if err := json.Indent(&out, joined, "", "  "); err != nil {
		return nil, fmt.Errorf("indent a result: %w", err)
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}
