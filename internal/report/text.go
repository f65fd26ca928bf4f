package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// cell is one field of the table; on a page, numbers stand to the right.
type cell struct {
	text  string
	right bool
}

func left(s string) cell  { return cell{text: s} }
func right(s string) cell { return cell{text: s, right: true} }

// WriteText writes the table for people: what was run where, what the rows
// mean, the rows, and the verdict below them.
func WriteText(w io.Writer, rep *Report) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n\n", hostLine(rep), settingsLine(rep))
	for _, group := range []struct {
		title string
		terms []Term
	}{
		{"Where the queue is", describe(rep, placements, placementOf)},
		{"Guard", describe(rep, guards, guardOf)},
		{"Fan-out", describe(rep, fanouts, fanoutOf)},
		{"NAT", describe(rep, nats, natOf)},
		{"Traffic", describe(rep, traffics, trafficOf)},
		{"Program", describe(rep, programs, programOf)},
		{"Backend", describe(rep, backends, backendOf)},
		{"Columns", columns},
	} {
		if len(group.terms) == 0 {
			continue
		}
		fmt.Fprintf(&b, "%s\n", group.title)
		for _, t := range group.terms {
			fmt.Fprintf(&b, "  %-16s  %s\n", t.Word, t.Meaning)
		}
	}
	b.WriteByte('\n')
	writeTable(&b, rep.Runs)
	for _, note := range rep.Notes {
		fmt.Fprintf(&b, "Note: %s\n", note)
	}
	for _, failure := range rep.Verdict.Failures {
		fmt.Fprintf(&b, "Failed: %s\n", failure)
	}
	fmt.Fprintf(&b, "%s\n", rep.Verdict.Line)
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write the table: %w", err)
	}
	return nil
}

// String is what figures are of first of all.
func (h *Host) String() string {
	return fmt.Sprintf("Linux %s, %s, %s, %d CPUs", h.Kernel, h.Architecture, h.Distribution, h.CPUs)
}

func hostLine(rep *Report) string {
	h := &rep.Host
	s := h.String()
	if h.UserNamespace {
		s += ", in a user namespace (no root)"
	}
	if h.QueueKind != "" {
		s += ", " + h.QueueKind + " queue statement"
	}
	if h.ConntrackEvents != nil {
		s += fmt.Sprintf(", nf_conntrack_events=%d", *h.ConntrackEvents)
	}
	return s
}

func settingsLine(rep *Report) string {
	s := &rep.Settings
	return fmt.Sprintf("Each run: %s flows, bursts of %d packets from %d threads, %d queues, analysis %s; lab %s, %.0f s",
		count(s.Flows), s.Burst, s.Threads, s.Queues, s.Analysis, rep.Version, rep.Seconds)
}

func writeTable(b *strings.Builder, rows []Run) {
	head := []cell{
		left("placement"), left("family"), left("fan-out"), left("nat"), left("traffic"), left("guard"),
		left("program"), left("events"),
		right("clashes"), right("lost"), right("dup"), right("reord"), right("moved"), right("split"), right("held"),
		right("p50 us"), right("p99 us"), right("packets/s"),
	}
	table := [][]cell{head}
	errs := map[int]string{} // by line of the table
	for i := range rows {
		r := &rows[i]
		line := []cell{left(r.Placement), left(r.Family), left(r.Fanout), left(r.NAT), left(r.Traffic), left(r.Guard),
			left(r.judge()), left(r.Events)}
		if r.Error != "" {
			errs[len(table)] = r.Error
		} else {
			p50, p99 := latencyCells(r)
			line = append(line, right(rate(r.ClashesPer1000)),
				right(count(r.Lost)), right(count(r.Duplicated)), right(count(r.Reordered)),
				right(count(r.SourcesChanged)), right(count(r.Split)), right(count(r.Held)),
				right(p50), right(p99), right(count(uint64(r.PacketsPerSecond))))
		}
		table = append(table, line)
	}
	writeCells(b, table, func(n int) string {
		if err, ok := errs[n]; ok {
			return "error: " + err
		}
		return ""
	})
}

// writeCells aligns lines of cells; rest ends a line that has fewer.
func writeCells(w *strings.Builder, table [][]cell, rest func(line int) string) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for n, line := range table {
		words := make([]string, 0, len(line)+1)
		for _, c := range line {
			words = append(words, c.text)
		}
		if more := rest(n); more != "" {
			words = append(words, more)
		}
		fmt.Fprintln(t, strings.Join(words, "\t"))
	}
	_ = t.Flush() // a strings.Builder never fails
}

// latencyCells are a dash where no verdict was given.
func latencyCells(r *Run) (p50, p99 string) {
	if r.VerdictLatencyUS == nil {
		return "-", "-"
	}
	return micros(r.VerdictLatencyUS.P50), micros(r.VerdictLatencyUS.P99)
}
