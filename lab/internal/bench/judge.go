package bench

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/aclements/go-moremath/stats"
)

// Schema is the version of the JSON documents.
const Schema = 1

// noisy is a spread, relative to the median, from which on a figure is to be taken with care.
const noisy = 0.25

// A Spread is the median of the valid rounds, the quartiles beside it, and the ends of their range.
type Spread struct {
	Median float64 `json:"median"`
	Q1     float64 `json:"q1"`
	Q3     float64 `json:"q3"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// NewSpread is nil for no values.
func NewSpread(values []float64) *Spread {
	if len(values) == 0 {
		return nil
	}
	sample := (&stats.Sample{Xs: values}).Copy().Sort()
	least, most := sample.Bounds()
	return &Spread{
		Median: sample.Quantile(0.5), Q1: sample.Quantile(0.25), Q3: sample.Quantile(0.75), Min: least, Max: most,
	}
}

// MedianText is the median in words, - for no values.
func (s *Spread) MedianText() string {
	if s == nil {
		return "-"
	}
	return fmt.Sprintf("%.1f", s.Median)
}

// Relative is the range's width by the median.
func (s *Spread) Relative() float64 { return (s.Max - s.Min) / s.Median }

// WhyNot is why a candidate has no figures; empty if it has. Missing says why it was not run at all, invalid why its
// last turn does not count.
func WhyNot(validRounds int, missing error, invalid string) string {
	switch {
	case validRounds > 0:
		return ""
	case missing != nil:
		return missing.Error()
	case invalid != "":
		return invalid
	}
	return "interrupted"
}

// A Judgement is what each comparison's document ends with.
type Judgement struct {
	Ratios  []RatioResult `json:"ratios"`
	Notes   []string      `json:"notes"`
	Verdict Verdict       `json:"verdict"`
}

// Note adds what is to be said of the figures.
func (j *Judgement) Note(format string, args ...any) {
	j.Notes = append(j.Notes, fmt.Sprintf(format, args...))
}

// NoteMissing says of the candidates that were not run why not, in their order.
func (j *Judgement) NoteMissing(candidates []string, missing map[string]error, where string) {
	for _, name := range candidates {
		if err := missing[name]; err != nil {
			j.Note("%s%s: not measured: %v", name, where, err)
		}
	}
}

// NoteNoise says of a candidate that its rounds differ, if they do.
func (j *Judgement) NoteNoise(candidate string, s *Spread) {
	if r := s.Relative(); r > noisy {
		j.Note("%s varies by %.0f %% of its median between rounds: this machine is busy or noisy. Repeat on a quiet "+
			"one, or with more --rounds.", candidate, 100*r)
	}
}

// NoteOneCPU says that there was none for the load alone.
func (j *Judgement) NoteOneCPU(loadCPU, cpu int, with string) {
	if loadCPU == cpu {
		j.Note("There is one CPU only, which the load and %s share.", with)
	}
}

// FailedTurns are the turns that do not count, and those that were not had.
func FailedTurns[S any, P interface {
	*S
	Turn
}](samples []S, interrupted bool) []string {
	failures := []string{}
	for i := range samples {
		if name, round, invalid := P(&samples[i]).Of(); invalid != "" {
			failures = append(failures, fmt.Sprintf("%s, round %d does not count: %s", name, round, invalid))
		}
	}
	if interrupted {
		failures = append(failures, "interrupted before the last round")
	}
	return failures
}

// WriteText writes, behind a comparison's own text, the ratios, what is to be said of the figures, and what they come
// to.
func (j *Judgement) WriteText(w io.Writer, text *strings.Builder) error {
	t := tabwriter.NewWriter(text, 0, 0, 3, ' ', 0)
	head := "ratio\tmeasured\tbound"
	withSpread := slices.ContainsFunc(j.Ratios, func(r RatioResult) bool { return r.UnderSpread != nil })
	if withSpread {
		head += "\tspread of the second"
	}
	if len(j.Ratios) > 0 {
		fmt.Fprintln(t, head)
	}
	for i := range j.Ratios {
		r := &j.Ratios[i]
		measured := "-"
		if r.Ratio != nil {
			measured = fmt.Sprintf("%.3f", *r.Ratio)
		}
		line := fmt.Sprintf("%s\t%s\t%s", r.name(), measured, r.bound())
		if withSpread && r.UnderSpread != nil {
			line += fmt.Sprintf("\t%.0f %%", 100**r.UnderSpread)
		}
		fmt.Fprintln(t, line)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(j.Ratios) > 0 {
		fmt.Fprintln(text)
	}
	for _, note := range j.Notes {
		fmt.Fprintf(text, "Note: %s\n", note)
	}
	for _, failure := range j.Verdict.Failures {
		fmt.Fprintf(text, "Failed: %s\n", failure)
	}
	fmt.Fprintln(text, j.Verdict.Line)
	if _, err := io.WriteString(w, text.String()); err != nil {
		return fmt.Errorf("write the table: %w", err)
	}
	return nil
}
