package compare

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"

	"verdictd/internal/report"
)

//go:embed page.html
var pageSource string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"style": func() template.CSS { return report.Style },
}).Parse(pageSource))

// Chart is a figure's change and its interval, in percent of the width. It is nil where there is no interval in
// percent.
type Chart struct{ Low, High, At float64 }

// chartMost is the change in percent at the ends of the charts; what goes beyond ends there.
const chartMost = 100

// Chart places the change between a fall to nothing and a rise to twice as much.
func (c Change) Chart() *Chart {
	if c.Low == nil || c.Percent == nil {
		return nil
	}
	place := func(percent float64) float64 {
		return (min(max(percent, -chartMost), chartMost) + chartMost) / (2 * chartMost) * 100
	}
	of := func(v float64) float64 { return v / math.Abs(*c.Before) * 100 }
	return &Chart{Low: place(of(*c.Low)), High: place(of(*c.High)), At: place(*c.Percent)}
}

// Width is the interval's.
func (c Chart) Width() float64 { return max(c.High-c.Low, 0.5) }

// WriteHTML writes one self-contained page: no script, no request to anywhere.
func (c *Comparison) WriteHTML(w io.Writer) error {
	if err := page.Execute(w, c); err != nil {
		return fmt.Errorf("write the page of a comparison: %w", err)
	}
	return nil
}
