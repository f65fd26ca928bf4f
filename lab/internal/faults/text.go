package faults

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// WriteText writes the summary for people.
func (r *Result) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Linux %s, %d CPUs; seed %d, %d packets a second\n", r.Host.Kernel, r.Host.CPUs, r.Seed, r.Rate)
	for _, p := range r.Programs {
		p.write(&b, r)
	}
	for _, failure := range r.Verdict.Failures {
		fmt.Fprintf(&b, "Failed: %s\n", failure)
	}
	fmt.Fprintf(&b, "%s\n", r.Verdict.Line)
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write the summary: %w", err)
	}
	return nil
}

// write lays out the faults by their kinds. A star marks what is inherent.
func (p *Played) write(b *strings.Builder, r *Result) {
	keeper := "without a keeper"
	if p.Keeper {
		keeper = "with a keeper"
	}
	fmt.Fprintf(b, "\n%s, guard %s, %s: %d packets in %.0f s, %d of %d delivered that are to be, %d to be dropped\n\n",
		p.Program, p.Guard, keeper, p.Sent, p.Seconds, p.Delivered, p.Wanted, p.Policed)
	t := tabwriter.NewWriter(b, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "fault\ttimes\t%s\tlongest gap, ms\t\n", strings.Join(columnNames[:], "\t"))
	row := func(name, times string, c *Costs, inherent map[string]string, gap string) {
		fmt.Fprintf(t, "%s\t%s\t", name, times)
		for i := range columns {
			mark := " "
			if _, ok := inherent[columnNames[i]]; ok && *c.of(i) > 0 {
				mark = "*"
			}
			fmt.Fprintf(t, "%d%s\t", *c.of(i), mark)
		}
		fmt.Fprintf(t, "%s\t\n", gap)
	}
	var reasons []string
	for i := range p.Kinds {
		s := &p.Kinds[i]
		var inherent map[string]string
		for _, m := range r.Kinds {
			if m.Kind == s.Kind {
				inherent = m.Inherent
			}
		}
		for c := range columns {
			if why := inherent[columnNames[c]]; why != "" && *s.of(c) > 0 {
				reasons = append(reasons, fmt.Sprintf("* %s, %s: %s", s.Kind, columnNames[c], why))
			}
		}
		row(s.Kind, fmt.Sprint(s.Times), &s.Costs, inherent, fmt.Sprintf("%.0f", s.LongestGapMS))
	}
	row("between", "", &p.Between.Costs, nil, "")
	_ = t.Flush() // a builder takes everything
	for _, line := range reasons {
		fmt.Fprintln(b, line)
	}
	fmt.Fprintf(b, "inherent: %s; others: %s\n\n", p.Inherent.String(), p.Others.String())
}
