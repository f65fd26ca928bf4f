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
	for _, side := range []struct {
		word string
		*Side
	}{{"before", c.Before}, {"after ", c.After}} {
		fmt.Fprintf(w, "%s  %s\n", side.word, side.describeFiles())
		for _, o := range side.Origins {
			fmt.Fprintf(w, "        %s\n", o)
		}
	}
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
		if !all && k.said(f.Figure) {
			continue
		}
		if all || !f.constant || f.Before != nil && *f.Before != 0 && direction(f.Figure) == Lower {
			out = append(out, f)
		}
	}
	return out
}

// said reports whether a figure says what another one does, under another name.
func (k Case) said(figure string) bool {
	other, ok := twins[figure]
	if !ok {
		return false
	}
	a, b := k.change(figure), k.change(other)
	same := func(x, y *float64) bool { return x == nil && y == nil || x != nil && y != nil && *x == *y }
	switch {
	case a == nil || b == nil:
		return false
	case same(a.Before, b.Before) && same(a.After, b.After):
		return true
	}
	// A share of what was sent changes as what it is a share of does.
	return same(a.Percent, b.Percent) || a.Percent != nil && b.Percent != nil && math.Abs(*a.Percent-*b.Percent) < 0.05
}

func (k Case) change(figure string) *Change {
	for i := range k.Changes {
		if k.Changes[i].Figure == figure {
			return &k.Changes[i]
		}
	}
	return nil
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

// BeforeText is the median before, with its unit.
func (c Change) BeforeText() string { return number(c.Before, unit(c.Figure)) }

// AfterText is the median after, with its unit.
func (c Change) AfterText() string { return number(c.After, unit(c.Figure)) }

func number(v *float64, unit string) string {
	if v == nil {
		return "-"
	}
	return plain(*v) + unit
}

// plain writes four digits at least that count, and no exponent.
func plain(v float64) string {
	decimals := 0
	if v != math.Trunc(v) {
		decimals = min(max(0, 3-int(math.Floor(math.Log10(math.Abs(v))))), 6)
	}
	return strconv.FormatFloat(v, 'f', decimals, 64)
}

// signed is plain with its sign.
func signed(v float64) string {
	if v > 0 {
		return "+" + plain(v)
	}
	return plain(v)
}

// Delta is the change in percent, or by how much where the median before is zero.
func (c Change) Delta() string {
	switch {
	case c.Before == nil || c.After == nil:
		return "-"
	case *c.Before == *c.After:
		return "0"
	case c.Percent == nil:
		return signed(*c.After) + unit(c.Figure)
	}
	return fmt.Sprintf("%+.1f%%", *c.Percent)
}

// Interval is that of the shift, in percent of the median before where there is one.
func (c Change) Interval() string {
	switch {
	case c.Low == nil:
		return "-"
	case c.Before == nil || *c.Before == 0:
		return signed(*c.Low) + " to " + signed(*c.High) + unit(c.Figure)
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
