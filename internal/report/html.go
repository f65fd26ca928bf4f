package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strings"
)

//go:embed page.html
var pageSource string

// Style is the look of all pages of the project.
//
//go:embed style.css
var Style template.CSS

// glossarySource is the end of every page: what its words mean.
//
//go:embed glossary.html
var glossarySource string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"style": func() template.CSS { return Style },
	"shell": shell,
	"count": count[uint64],
	"rate":  rate,
	"p50":   func(r Run) string { p50, _ := latencyCells(&r); return p50 },
	"p99":   func(r Run) string { _, p99 := latencyCells(&r); return p99 },
	"judge": func(r Run) string { return r.judge() },
	"whole": func(x float64) string { return count(uint64(x)) },
}).Parse(pageSource + glossarySource))

// view is what the page shows, prepared so that the template only lays out.
type view struct {
	*Report
	Host, Settings string
	Guards         []string // that there is a colour of in the charts
	Clashes        []chartGroup
	Variations     []chartGroup
	PerMille       []tick // the axis of both
	Latency        []chartGroup
	Times          []tick // its axis
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
	Loss    *bar // beside the clashes: what is dropped does not clash
}

// tick is a mark of an axis. A minor one is left out where there is little room.
type tick struct {
	Percent float64
	Text    string
	Minor   bool
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
			{"NAT", describe(rep, nats, natOf)},
			{"Traffic", describe(rep, traffics, trafficOf)},
			{"Program", describe(rep, programs, programOf)},
			{"Backend", describe(rep, backends, backendOf)},
			{"Columns", columns},
		},
	}
	v.Clashes, v.Variations = clashCharts(rep)
	v.Guards, v.PerMille = guardsOf(rep), []tick{{0, "0", false}, {25, "250", true}, {50, "500", false}, {75, "750", true}, {100, "1,000", false}}
	scale := latencyScale(rep)
	v.Latency, v.Times = latencyChart(rep, scale), scale.ticks()
	if err := page.Execute(w, v); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}

// clashCharts has the plain rows by placement, and the rows that differ from
// them in fan-out, NAT, backend or events by what they differ in.
func clashCharts(rep *Report) (plain, varied []chartGroup) {
	for i := range rep.Runs {
		r := &rep.Runs[i]
		b := bar{Label: barLabel(r), Guard: r.Guard, Percent: min(100, r.ClashesPer1000/10),
			Value: rate(r.ClashesPer1000)}
		if lost := 1000 * float64(r.Lost) / float64(max(r.Sent, 1)); r.Error == "" {
			b.Loss = &bar{Percent: min(100, lost/10), Value: rate(lost) + " lost"}
		}
		if r.Placement == PlacementNone {
			b.Guard = PlacementNone // a colour of its own
		}
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

// scale is logarithmic: one machine's latencies differ by orders of magnitude.
type scale struct{ from, to float64 }

// latencyScale holds every p50 and p99; its ends are powers of ten.
func latencyScale(rep *Report) scale {
	s := scale{math.Inf(1), 0}
	for i := range rep.Runs {
		if l := rep.Runs[i].VerdictLatencyUS; l != nil && l.P50 > 0 {
			s.from, s.to = min(s.from, l.P50), max(s.to, l.P99)
		}
	}
	if s.to == 0 {
		return scale{1, 10}
	}
	return scale{math.Pow(10, math.Floor(math.Log10(s.from))), math.Pow(10, math.Ceil(math.Log10(s.to)))}
}

// percent is where on the scale x is.
func (s scale) percent(x float64) float64 {
	if x <= s.from {
		return 0
	}
	return 100 * math.Log(x/s.from) / math.Log(s.to/s.from)
}

// ticks are the powers of ten.
func (s scale) ticks() (all []tick) {
	for x := s.from; x <= s.to*1.001; x *= 10 {
		all = append(all, tick{s.percent(x), duration(x), len(all)%2 == 1})
	}
	return all
}

// guardsOf are the colours that rows have.
func guardsOf(rep *Report) (all []string) {
	for _, colour := range []string{PlacementNone, GuardOff, GuardHold, GuardDrop} {
		if slices.ContainsFunc(rep.Runs, func(r Run) bool {
			return r.Placement == colour || r.Placement != PlacementNone && r.Guard == colour
		}) {
			all = append(all, colour)
		}
	}
	return all
}

// shell writes a command as it is typed.
func shell(words []string) string {
	var quoted []string
	for _, w := range words {
		if w == "" || strings.ContainsAny(w, " \t\n'\"\\$`!*?[]{}()<>|&;#~") {
			w = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		quoted = append(quoted, w)
	}
	return strings.Join(quoted, " ")
}

// latencyChart shows p50 within p99.
func latencyChart(rep *Report, s scale) []chartGroup {
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
			Percent: s.percent(l.P99), Inner: s.percent(l.P50),
			Value: duration(l.P50) + " / " + duration(l.P99),
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
	if meaning(nats, r.NAT) != "" {
		parts = append(parts, "NAT "+r.NAT)
	}
	if meaning(traffics, r.Traffic) != "" {
		parts = append(parts, "traffic "+r.Traffic)
	}
	if meaning(programs, r.Program) != "" {
		return strings.Join(append(parts, "program "+r.Program), ", ")
	}
	if r.Backend != backends[0].Word && r.Placement != PlacementNone {
		parts = append(parts, "backend "+r.Backend)
	}
	if r.Events != EventsNone {
		parts = append(parts, r.eventsInWords())
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
