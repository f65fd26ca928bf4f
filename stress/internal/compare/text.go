package compare

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
)

// WriteText writes what people want to know: the sentence, what differs around the figures, and the figures. Those that
// have one value in all samples of both sides are left out unless all is set.
func (c *Comparison) WriteText(w io.Writer, all bool) error {
	fmt.Fprintf(w, "before  %s\nafter   %s\n", c.Before.describeFiles(), c.After.describeFiles())
	for _, s := range append(c.Before.Skipped, c.After.Skipped...) {
		fmt.Fprintf(w, "skipped %s\n", s)
	}
	for _, d := range c.Differences {
		fmt.Fprintf(w, "differs %s: %s -> %s\n", d.Fact, d.BeforeText(), d.AfterText())
	}
	for _, k := range c.Cases {
		fmt.Fprintln(w)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintf(t, "%s\tbefore\tafter\tchange\t%g%% interval\tp\t\t\n", k.Name, 100*(1-c.Alpha))
		for _, f := range k.Shown(all) {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", f.Figure, f.BeforeText(), f.AfterText(), f.Delta(), f.Interval(),
				f.PText(), f.Mark())
		}
		if err := t.Flush(); err != nil {
			return fmt.Errorf("write comparison: %w", err)
		}
	}
	fmt.Fprintf(w, "\n%s\n", c.Line)
	for _, f := range c.Failures {
		fmt.Fprintf(w, "FAILED  %s\n", f)
	}
	return nil
}

func (s *Side) describeFiles() string {
	files := fmt.Sprintf("%d files", len(s.Files))
	if len(s.Files) == 1 {
		files = "1 file"
	}
	return fmt.Sprintf("%s: %d results in %s", s.Name, s.Documents, files)
}

// Shown is the figures that say something.
func (k Case) Shown(all bool) []Change {
	var out []Change
	for _, f := range k.Changes {
		if all || !f.constant || f.Before != nil && *f.Before != 0 && direction(f.Figure) == Lower {
			out = append(out, f)
		}
	}
	return out
}

// BeforeText is the values of the side before.
func (d Difference) BeforeText() string { return values(d.Before) }

// AfterText is the values of the side after.
func (d Difference) AfterText() string { return values(d.After) }

func values(list []string) string {
	if len(list) == 0 {
		return "(none)"
	}
	return strings.Join(list, " | ")
}

// BeforeText is the median before.
func (c Change) BeforeText() string { return number(c.Before) }

// AfterText is the median after.
func (c Change) AfterText() string { return number(c.After) }

func number(v *float64) string {
	switch {
	case v == nil:
		return "-"
	case *v == math.Trunc(*v) && math.Abs(*v) < 1e15:
		return strconv.FormatFloat(*v, 'f', 0, 64)
	}
	return strconv.FormatFloat(*v, 'g', 4, 64)
}

// Delta is the change in percent, or by how much where the median before is zero.
func (c Change) Delta() string {
	switch {
	case c.Before == nil || c.After == nil:
		return "-"
	case *c.Before == *c.After:
		return "0"
	case c.Percent == nil:
		return fmt.Sprintf("%+.4g", *c.After)
	}
	return fmt.Sprintf("%+.1f%%", *c.Percent)
}

// Interval is that of the shift, in percent of the median before where there is one.
func (c Change) Interval() string {
	switch {
	case c.Low == nil:
		return "-"
	case c.Before == nil || *c.Before == 0:
		return fmt.Sprintf("%+.4g to %+.4g", *c.Low, *c.High)
	}
	percent := func(v float64) float64 { return v / math.Abs(*c.Before) * 100 }
	return fmt.Sprintf("%+.1f%% to %+.1f%%", percent(*c.Low), percent(*c.High))
}

// PText is the p.
func (c Change) PText() string {
	if c.P == nil {
		return "-"
	}
	return fmt.Sprintf("%.3f", *c.P)
}

// Mark is the judgement, where it is worth a word.
func (c Change) Mark() string {
	if c.Judgement == Same {
		return ""
	}
	if c.Judgement == Unknown {
		return "?"
	}
	return string(c.Judgement)
}
