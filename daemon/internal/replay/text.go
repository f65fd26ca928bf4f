package replay

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// WriteText writes the flows with their verdicts, and what each rule decided on.
func (r *Result) WriteText(w io.Writer) error {
	var text strings.Builder
	for i := range r.Flows {
		f := &r.Flows[i]
		fmt.Fprintln(&text, f.Line())
		for _, line := range f.Why {
			fmt.Fprintf(&text, "    %s\n", line)
		}
	}
	fmt.Fprintf(&text, "\n%d packets at %s", r.Packets, r.Hook)
	for _, also := range []struct {
		n    int
		what string
	}{{r.Skipped, "without an IP header, not judged"}, {r.Truncated, "cut by the capture"},
		{r.Undecodable, "undecodable"}} {
		if also.n > 0 {
			fmt.Fprintf(&text, "; %d %s", also.n, also.what)
		}
	}
	fmt.Fprint(&text, "\n\n")
	t := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "rule\taction\tpackets")
	for i := range r.Rules {
		rule := &r.Rules[i]
		packets := fmt.Sprint(rule.Packets)
		if rule.Packets == 0 && slices.Contains(r.Never, rule.Name) {
			packets = "never"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", rule.Name, rule.Action, packets)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// Lines are the flows as an expectation has them.
func (r *Result) Lines() (lines []string) {
	for i := range r.Flows {
		lines = append(lines, r.Flows[i].Line())
	}
	return lines
}

// Differences are the lines that a text expects and that are not there, with a - before them, and
// those that it does not expect, with a +. Empty lines and those that begin with # say nothing. Two
// equal lines are two flows.
func (r *Result) Differences(expected string) (list []string) {
	got := r.Lines()
	for line := range strings.Lines(expected) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if at := slices.Index(got, line); at >= 0 {
			got = slices.Delete(got, at, at+1)
			continue
		}
		list = append(list, "- "+line)
	}
	for _, line := range got {
		list = append(list, "+ "+line)
	}
	return list
}
