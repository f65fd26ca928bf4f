package trace

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"verdictd/lab/internal/kernels"
)

// Schema is the version of the document of `lab kernel trace --json`.
const Schema = 1

// Report is that document.
type Report struct {
	Schema  int           `json:"schema"`
	Image   kernels.Image `json:"image"`
	Kernel  string        `json:"kernel"`
	Seconds float64       `json:"seconds"`
	Rows    []Row         `json:"rows"`
}

// Row is one load and what was traced of it.
type Row struct {
	Load      string        `json:"load"`
	Probes    []tracedProbe `json:"probes"`
	Flows     int           `json:"flows"`
	Packets   int           `json:"packets"`
	Delivered int           `json:"delivered"`

	Expected    *int `json:"expected"` // clashes; null where it is not known beforehand
	Confirm     int  `json:"confirm"`  // clashes that were traced
	Reinjection int  `json:"reinjection"`
	Dropped     int  `json:"dropped"` // of both

	ClashResolve uint64 `json:"clash_resolve"` // what the kernel counted
	InsertFailed uint64 `json:"insert_failed"`

	Disagreements []string `json:"disagreements"`
}

// Disagrees says that a row does, or that there is none.
func (r *Report) Disagrees() bool {
	for _, row := range r.Rows {
		if len(row.Disagreements) > 0 {
			return true
		}
	}
	return len(r.Rows) == 0
}

// WriteText writes the table for people.
func (r *Report) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "load\ttraced\tpackets\texpected\tat confirm\tclash_resolve\tat re-injection\t")
	for _, row := range r.Rows {
		expected := "-"
		if row.Expected != nil {
			expected = strconv.Itoa(*row.Expected)
		}
		verdict := "agrees"
		if len(row.Disagreements) > 0 {
			verdict = "DISAGREES"
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%d\t%d\t%d\t%s\n", row.Load, probesText(row.Probes), row.Packets, expected,
			row.Confirm, row.ClashResolve, row.Reinjection, verdict)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	var b strings.Builder
	for _, row := range r.Rows {
		for _, d := range row.Disagreements {
			fmt.Fprintf(&b, "%s, %s: %s\n", row.Load, probesText(row.Probes), d)
		}
	}
	fmt.Fprintf(&b, "Linux %s; clashes at re-injection are in no counter of the kernel's; %.0f s\n", r.Kernel,
		r.Seconds)
	_, err := io.WriteString(w, b.String())
	return err
}

// probesText names what tells of clashes at confirm, the first of the functions.
func probesText(probes []tracedProbe) string {
	if len(probes) == 0 {
		return "nothing"
	}
	return probes[0].Function + " by " + probes[0].Method
}
