package main

import (
	"fmt"
	"io"
	"strings"
)

// checkSchema is the version of the document of `lab kernel check --json`.
const checkSchema = 1

// checked is a row of the result.
type checked struct {
	Image   string  `json:"image"`
	Check   string  `json:"check"`
	OK      bool    `json:"ok"`
	Seconds float64 `json:"seconds"`
	Text    string  `json:"text"`
	Error   string  `json:"error,omitempty"`
}

// checkReport is that document.
type checkReport struct {
	Schema  int       `json:"schema"`
	OK      bool      `json:"ok"`
	Seconds float64   `json:"seconds"`
	Checks  []checked `json:"checks"`
}

// WriteText writes the table for people.
func (r *checkReport) WriteText(w io.Writer) error {
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
