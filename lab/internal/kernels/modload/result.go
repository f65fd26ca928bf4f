package modload

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"verdictd/lab/internal/kernels"
)

// Row is one count.
type Row struct {
	Modprobe string            `json:"modprobe"`
	Version  string            `json:"version"` // what that says of itself
	Strategy string            `json:"strategy"`
	Rounds   int               `json:"rounds"`
	Attempts uint64            `json:"attempts"` // sockets, or starts of verdictd
	Failed   uint64            `json:"failed"`
	Errors   map[string]uint64 `json:"errors"`
	Expected bool              `json:"expected"` // it went as kmod's history has it
	Problem  string            `json:"problem,omitempty"`
}

// judge says whether a row is as expected: only naive threads fail, and only with the stand-in.
func (r *Row) judge(rounds int) {
	race := r.Modprobe == modprobeStand && r.Strategy == strategyNaive
	switch {
	case r.Problem != "":
	case r.Rounds < rounds:
		r.Problem = fmt.Sprintf("only %d of %d rounds", r.Rounds, rounds)
	case race && r.Errors["EPROTONOSUPPORT"] == 0 && r.Errors["EINVAL"] == 0:
		r.Problem = "the race did not show: give it more --rounds or --threads"
	case !race && r.Failed > 0:
		r.Problem = "failures where there should be none"
	}
	r.Expected = r.Problem == ""
}

// Schema is the version of the document of `lab kernel modload --json`.
const Schema = 1

// Report is that document.
type Report struct {
	Schema  int           `json:"schema"`
	Image   kernels.Image `json:"image"`
	Threads int           `json:"threads"`
	Widened bool          `json:"widened"` // the window of the race
	Seconds float64       `json:"seconds"`
	Rows    []Row         `json:"rows"`
	OK      bool          `json:"ok"`
}

// WriteText writes the table for people.
func (r *Report) WriteText(w io.Writer) error {
	fmt.Fprintf(w, "%s (%s): %d threads open a socket at the same moment, %.0f s\n", r.Image.Name, r.Image.Release,
		r.Threads, r.Seconds)
	if r.Widened {
		fmt.Fprintln(w, "The window of the race is widened: the kernel prints some lines between the two steps that "+
			"it lies between.")
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "modprobe\tstrategy\trounds\tattempts\tfailed\terrors\tas expected")
	for _, row := range r.Rows {
		verdict := "yes"
		if !row.Expected {
			verdict = "NO: " + row.Problem
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%s\t%s\n", row.Modprobe, row.Strategy, row.Rounds, row.Attempts, row.Failed,
			errorCounts(row.Errors), verdict)
	}
	return t.Flush()
}

// errorCounts are errors with how often they came, for people.
func errorCounts(counts map[string]uint64) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d %s", counts[name], name))
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}
