package audit

import (
	"encoding/json"
	"fmt"
	"io"
)

// schema is raised when a key of the JSON changes its meaning or goes.
const schema = 1

// Report is the whole answer, as JSON.
type Report struct {
	Schema  int    `json:"schema"`
	Version string `json:"version"`
	Answer
	*Machine
	Probe *ProbeReport `json:"probe,omitempty"`
}

// ProbeReport is what the probe found, or why it was not run.
type ProbeReport struct {
	*Probe
	Refused string `json:"refused,omitempty"`
}

// NewReport weighs what was read.
func NewReport(version string, m *Machine) *Report {
	return &Report{Schema: schema, Version: version, Answer: Judge(m), Machine: m}
}

// WriteJSON writes the report as one indented object.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(r); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
