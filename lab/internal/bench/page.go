package bench

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strings"

	"verdictd/internal/report"
)

//go:embed page.html
var pageSource string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"style":  func() template.CSS { return report.Style },
	"number": number,
	"count":  report.Count,
}).Parse(pageSource))

// A Document is a comparison's result that can be shown as a page.
type Document interface {
	WriteText(w io.Writer) error
	Charts() ([]Bars, []Plot)
}

// Bars compare candidates by one figure.
type Bars struct {
	Title, Unit string
	Bars        []Bar
}

// A Bar is a median, with the quartiles beside it.
type Bar struct {
	Label            string
	Value, Low, High float64
}

// BarOf is a candidate's.
func BarOf(label string, s *Spread) Bar { return Bar{label, s.Median, s.Q1, s.Q3} }

// Percent is a value's place on the chart, whose end is the longest bar or quartile.
func (b Bars) Percent(value float64) string {
	most := 0.0
	for _, bar := range b.Bars {
		most = max(most, bar.Value, bar.High)
	}
	if most == 0 {
		return "0"
	}
	return fmt.Sprintf("%.1f", 100*value/most)
}

// Ranges reports whether some have quartiles.
func (b Bars) Ranges() bool {
	return slices.ContainsFunc(b.Bars, func(bar Bar) bool { return bar.Low < bar.High })
}

// Between is the width of a range in percent.
func (b Bars) Between(low, high float64) string { return b.Percent(high - low) }

// A Plot is a curve over a scale on which each point has the same distance: what is measured grows by factors.
type Plot struct {
	Title, Unit, Across string
	Points              []PlotPoint
}

// A PlotPoint is a median, with the quartiles beside it.
type PlotPoint struct {
	X            int
	Y, Low, High float64
}

// The plot's area, in the units of its picture.
const (
	left, right, top, bottom = 50.0, 620.0, 15.0, 205.0
	gridLines                = 4
)

// most is the scale's end: a round number above all points.
func (p Plot) most() float64 {
	most := 0.0
	for _, point := range p.Points {
		most = max(most, point.Y, point.High)
	}
	if most <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(most)))
	return math.Ceil(2*most/unit) * unit / 2
}

func (p Plot) at(y float64) float64 { return bottom - (bottom-top)*y/p.most() }

// A Line of the grid.
type Line struct{ At, Text string }

// Lines are the grid's.
func (p Plot) Lines() (lines []Line) {
	for i := range gridLines + 1 {
		y := p.most() * float64(i) / gridLines
		lines = append(lines, Line{fmt.Sprintf("%.1f", p.at(y)), number(y)})
	}
	return lines
}

// A Placed is a point in the picture's units.
type Placed struct{ X, Y, Low, High, Text string }

// Placed are the points from left to right.
func (p Plot) Placed() (all []Placed) {
	const margin = 20
	step := (right - left - 2*margin) / float64(max(1, len(p.Points)-1))
	for i, point := range p.Points {
		f := func(x float64) string { return fmt.Sprintf("%.1f", x) }
		all = append(all, Placed{f(left + margin + float64(i)*step), f(p.at(point.Y)), f(p.at(point.Low)),
			f(p.at(point.High)), report.Count(point.X)})
	}
	return all
}

// number is one with as many digits as tell something.
func number(x float64) string {
	switch {
	case x >= 100:
		return report.Count(int(math.Round(x)))
	case x >= 10:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.2f", x)
}

// WritePage writes one self-contained page: no script, no request to anywhere.
func WritePage(w io.Writer, title string, d Document, v *Verdict) error {
	var text strings.Builder
	if err := d.WriteText(&text); err != nil {
		return err
	}
	bars, plots := d.Charts()
	err := page.Execute(w, struct {
		Title   string
		Verdict *Verdict
		Bars    []Bars
		Plots   []Plot
		Text    string
	}{title, v, bars, plots, text.String()})
	if err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}
