package report

import (
	"fmt"
	"io"
	"strings"
)

// kernels are what a crash report's kernels are.
var kernels = []Term{
	{KernelFixed, "nf_conntrack_confirm() reads the entry again after its insertion (56b14ecec97f)"},
	{KernelVulnerable, "the same source without that: events are delivered from the entry that lost a clash and is freed (CVE-2022-49561)"},
	{KernelEL7Shape, "vulnerable in the order of delivery and allocation that CentOS 7 has, and with the windows of its race WIDENED by delays: it shows the way of the crash, not how often it comes"},
	{KernelOwn, "an image of yours"},
}

var crashColumns = []Term{
	{"clashes", "clash_resolve of the queue's namespace: clashes that were resolved inside the confirm"},
	{"held", "packets that waited in the gate"},
	{"fires after", "seconds of the guest's clock from the start of stress to the kernel's report"},
}

func (rep *CrashReport) hostLine() string {
	h := &rep.Host
	return fmt.Sprintf("Virtual machines with %d CPUs each, by %s, on Linux %s, %s, %d CPUs", rep.Settings.CPUs,
		h.Accelerator, h.Kernel, h.Architecture, h.CPUs)
}

func (rep *CrashReport) settingsLine() string {
	s := &rep.Settings
	return fmt.Sprintf("Each machine: %d queues, stress with %s flows of %d packets at once, conntrackwatch events; lab %s, %.0f s",
		s.Queues, count(s.Flows), s.Burst, rep.Version, rep.Seconds)
}

// terms are those of the kernels that occur.
func (rep *CrashReport) terms() []Term {
	var out []Term
	for _, t := range kernels {
		for i := range rep.Rows {
			if rep.Rows[i].Kernel == t.Word {
				out = append(out, t)
				break
			}
		}
	}
	return out
}

// quoted is the first row that fired: its report stands for all.
func (rep *CrashReport) quoted() *CrashRow {
	for i := range rep.Rows {
		if r := &rep.Rows[i]; r.Outcome == OutcomeFires && len(r.Report) > 0 {
			return r
		}
	}
	return nil
}

// cells is a row of the summary.
func (s *CrashSum) cells() []cell {
	return []cell{
		left(s.Kernel), left(s.Guard), left(s.Program), left(s.Placement), left(s.Fanout), left(s.Events),
		right(count(s.Flows)), right(count(s.Clashes)), right(count(s.Lost)), right(count(s.Held)),
		left(s.outcome()), left(s.expected()), right(s.after()),
	}
}

func (s *CrashSum) expected() string {
	if s.Expected == "" {
		return "-"
	}
	return s.Expected
}

// outcome is one word, or how often each.
func (s *CrashSum) outcome() string {
	var parts []string
	for _, o := range []struct {
		word string
		n    int
	}{{OutcomeFires, s.Fires}, {OutcomeClean, s.Clean}, {OutcomeInconclusive, s.Inconclusive}} {
		switch {
		case o.n == 0:
		case s.Runs == 1:
			parts = append(parts, o.word)
		default:
			parts = append(parts, fmt.Sprintf("%s %d/%d", o.word, o.n, s.Runs))
		}
	}
	return strings.Join(parts, ", ")
}

// after is the times to fire.
func (s *CrashSum) after() string {
	switch n := len(s.Seconds); n {
	case 0:
		return "-"
	case 1:
		return fmt.Sprintf("%.1f s", s.Seconds[0])
	default:
		return fmt.Sprintf("%.1f to %.1f s", s.Seconds[0], s.Seconds[n-1])
	}
}

var crashHead = []cell{
	left("kernel"), left("guard"), left("program"), left("placement"), left("fan-out"), left("events"), right("flows"),
	right("clashes"), right("lost"), right("held"),
	left("outcome"), left("expected"), right("fires after"),
}

// WriteCrashText writes the table for people.
func WriteCrashText(w io.Writer, rep *CrashReport) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n\n", rep.hostLine(), rep.settingsLine())
	for _, group := range []glossary{{"Kernels", rep.terms()}, {"Columns", crashColumns}} {
		if len(group.Terms) == 0 {
			continue
		}
		fmt.Fprintf(&b, "%s\n", group.Title)
		for _, t := range group.Terms {
			fmt.Fprintf(&b, "  %-16s  %s\n", t.Word, t.Meaning)
		}
	}
	b.WriteByte('\n')
	table := [][]cell{crashHead}
	for i := range rep.Summary {
		table = append(table, rep.Summary[i].cells())
	}
	writeCells(&b, table, func(int) string { return "" })
	if r := rep.quoted(); r != nil {
		fmt.Fprintf(&b, "\nThe report of the %s (%s):\n", r.Name(), r.Release)
		for _, line := range r.Report {
			fmt.Fprintf(&b, "  %s\n", line)
		}
		fmt.Fprintf(&b, "Recognised: %s\n", r.About)
	}
	b.WriteByte('\n')
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
