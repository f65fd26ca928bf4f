package facts

import (
	"fmt"
	"io"
	"strings"

	"verdictd/internal/kernelfacts"
)

// Schema is raised when a key of the document changes its meaning or goes.
const Schema = 1

// Document is what `lab facts --json` writes.
type Document struct {
	Schema  int    `json:"schema"`
	Version string `json:"version"`
	// Facts are the table's rows, Named those of which every commit has its subject, so
	// that changelogs can be searched for them.
	Facts   int      `json:"facts"`
	Named   int      `json:"named"`
	Results []Result `json:"results"`
}

// Run holds the project's table against changelogs.
func Run(version string, logs []*Changelog) *Document {
	table := kernelfacts.Facts()
	d := &Document{Schema: Schema, Version: version, Facts: len(table)}
	for _, f := range table {
		if len(f.Fix)+len(f.Cause) > 0 && named(f.Fix) && named(f.Cause) {
			d.Named++
		}
	}
	for _, c := range logs {
		d.Results = append(d.Results, Check(table, c))
	}
	return d
}

// OK reports whether no changelog contradicts the table.
func (d *Document) OK() bool {
	for _, r := range d.Results {
		if len(r.Problems) > 0 {
			return false
		}
	}
	return true
}

// WriteText writes it for people.
func (d *Document) WriteText(w io.Writer) error {
	var text strings.Builder
	fmt.Fprintf(&text, "%d rows, %d of them with the subjects of all their commits\n\n", d.Facts, d.Named)
	for _, r := range d.Results {
		fmt.Fprintf(&text, "%-28s  %3d stable versions  %3d changes where the table has them  %d problems\n",
			r.Changelog, r.Versions, r.Seen, len(r.Problems))
		for _, p := range r.Problems {
			text.WriteString("  " + p + "\n")
		}
	}
	_, err := io.WriteString(w, text.String())
	return err
}
