package check

import (
	"fmt"
	"io"
	"strings"
)

// Schema is the version of the document of `lab kernel check --json`.
const Schema = 1

// checked is a row of the result.
type checked struct {
	Image   string  `json:"image"`
	Check   string  `json:"check"`
	OK      bool    `json:"ok"`
	Seconds float64 `json:"seconds"`
	Text    string  `json:"text"`
	Error   string  `json:"error,omitempty"`
}

// Report is that document.
type Report struct {
	Schema  int       `json:"schema"`
	OK      bool      `json:"ok"`
	Seconds float64   `json:"seconds"`
	Checks  []checked `json:"checks"`
}

// WriteText writes the table for people.
func (r *Report) WriteText(w io.Writer) error {
	for _, row := range r.Checks {
		verdict := "ok    "
		if !row.OK {
			verdict = "FAILED"
		}
		fmt.Fprintf(w, "%s  %-24s %-8s %4.0f s  %s\n", verdict, row.Image, row.Check, row.Seconds, row.Text)
		if row.Error != "" {
			fmt.Fprintf(w, "        %s\n", strings.ReplaceAll(strings.TrimSpace(row.Error), "\n", "\n        "))
		}
	}
	_, err := fmt.Fprintf(w, "%.0f s\n", r.Seconds)
	return err
}
