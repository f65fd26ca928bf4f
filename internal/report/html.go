package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"
)

//go:embed page.html
var pageSource string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"count": count[uint64],
	"rate":  rate,
	"p50":   func(r Run) string { p50, _ := latencyCells(&r); return p50 },
	"p99":   func(r Run) string { _, p99 := latencyCells(&r); return p99 },
	"whole": func(x float64) string { return count(uint64(x)) },
}).Parse(pageSource))

// view is what the page shows, prepared so that the template only lays out.
type view struct {
	*Report
	Host, Settings string
	Clashes        []chartGroup
	Variations     []chartGroup
	Latency        []chartGroup
	Glossary       []glossary
}

// chartGroup is the bars of one placement, or of one variation of it.
type chartGroup struct {
	Label   string
	Meaning string
	Bars    []bar
}

// bar is one run in a chart. Percent is of the chart's full width; Inner is a
// second, darker length in the same bar.
type bar struct {
	Label   string
	Guard   string
	Percent float64
	Inner   float64
	Value   string
	Failed  bool
}

type glossary struct {
	Title string
	Terms []Term
}

// WriteHTML writes one self-contained page: no script, no request to anywhere.
func WriteHTML(w io.Writer, rep *Report) error {
	v := view{
		Report:   rep,
		Host:     hostLine(rep),
		Settings: settingsLine(rep),
		Glossary: []glossary{
			{"Where the queue is", describe(rep, placements, placementOf)},
			{"Guard", describe(rep, guards, guardOf)},
			{"Fan-out", describe(rep, fanouts, fanoutOf)},
			{"Backend", describe(rep, backends, backendOf)},
			{"Columns", columns},
		},
	}
	v.Clashes, v.Variations = clashCharts(rep)
	v.Latency = latencyChart(rep)
	if err := page.Execute(w, v); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}

// clashCharts has the plain rows by placement, and the rows that differ from
// them in fan-out, backend or events by what they differ in.
func clashCharts(rep *Report) (plain, varied []chartGroup) {
	for i := range rep.Runs {
		r := &rep.Runs[i]
		b := bar{Label: barLabel(r), Guard: r.Guard, Percent: min(100, r.ClashesPer1000/10), Value: rate(r.ClashesPer1000)}
		if r.Error != "" {
			b.Failed, b.Value = true, "failed"
		}
		if variation := variationOf(r); variation != "" {
			varied = addBar(varied, r.Placement+", "+variation, "", b)
		} else {
			plain = addBar(plain, r.Placement, meaning(placements, r.Placement), b)
		}
	}
	return plain, varied
}

// latencyChart shows p50 within p99, to the scale of the longest p99.
func latencyChart(rep *Report) []chartGroup {
	var longest float64
	for i := range rep.Runs {
		if l := rep.Runs[i].VerdictLatencyUS; l != nil {
			longest = max(longest, l.P99)
		}
	}
	if longest == 0 {
		return nil
	}
	var groups []chartGroup
	for i := range rep.Runs {
		r := &rep.Runs[i]
		l := r.VerdictLatencyUS
		if l == nil || r.Error != "" {
			continue
		}
		label := r.Placement
		if variation := variationOf(r); variation != "" {
			label += ", " + variation
		}
		groups = addBar(groups, label, "", bar{
			Label: barLabel(r), Guard: r.Guard,
			Percent: 100 * l.P99 / longest, Inner: 100 * l.P50 / longest,
			Value: micros(l.P50) + " / " + micros(l.P99),
		})
	}
	return groups
}

func barLabel(r *Run) string {
	if r.Placement == PlacementNone {
		return r.Family
	}
	return r.Family + " " + r.Guard
}

// variationOf names how a row differs from the plain ones.
func variationOf(r *Run) string {
	var parts []string
	if r.Fanout != fanouts[0].Word && r.Placement != PlacementNone {
		parts = append(parts, "fan-out "+r.Fanout)
	}
	if r.Backend != backends[0].Word && r.Placement != PlacementNone {
		parts = append(parts, "backend "+r.Backend)
	}
	if r.Events != EventsNone {
		parts = append(parts, "event "+r.Events)
	}
	return strings.Join(parts, ", ")
}

func addBar(groups []chartGroup, label, meaning string, b bar) []chartGroup {
	for i := range groups {
		if groups[i].Label == label {
			groups[i].Bars = append(groups[i].Bars, b)
			return groups
		}
	}
	return append(groups, chartGroup{Label: label, Meaning: meaning, Bars: []bar{b}})
}

func meaning(terms []Term, word string) string {
	for _, t := range terms {
		if t.Word == word {
			return t.Meaning
		}
	}
	return ""
}
