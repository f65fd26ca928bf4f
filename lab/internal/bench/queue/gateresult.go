package queue

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"verdictd/internal/report"
	"verdictd/lab/internal/bench"
)

// GateResult is what `lab bench gate --json` writes.
type GateResult struct {
	bench.Head[report.Host, gateSettings, sample]
	Cases  []gateCase     `json:"cases"`
	Floods []openSample   `json:"flood_samples"`
	Points []pointSummary `json:"points"`
	bench.Judgement
}

type gateSettings struct {
	Rounds    int     `json:"rounds"`
	Packets   int     `json:"packets"`
	Fresh     int     `json:"fresh_packets"`
	Flood     int     `json:"flood_flows"`
	Rate      float64 `json:"rate"`
	Seconds   float64 `json:"seconds"`
	LoadCPU   int     `json:"load_cpu"`
	DaemonCPU int     `json:"daemon_cpu"`
}

// A gateCase is one of the closed loops, with how often a second conntrack was asked for a flow.
type gateCase struct {
	summary
	LookUps *float64 `json:"look_ups_per_second"`
}

// gateFigureNames are the names that ratios are of: of cases, and of points of the flood.
func gateFigureNames() []string {
	list := figureNames(gateCases)
	for _, variant := range names(gateFloods) {
		for _, at := range []string{quietPoint, floodPoint} {
			for _, f := range figures {
				list = append(list, figureName(variant, at, f.name))
			}
		}
	}
	return list
}

// gateRatios are always shown.
func gateRatios() []bench.Ratio {
	list := []bench.Ratio{
		bench.RatioOf("mmsg+hold", "mmsg"),
		bench.RatioOf("new:mmsg+hold", "new:mmsg"),
		bench.RatioOf("burst:mmsg+hold", "burst:mmsg"),
		bench.RatioOf("burst:mmsg+hold"+atPath, "burst:mmsg"+atPath),
		bench.RatioOf("answer:mmsg+hold"+atPath, "answer:mmsg"+atPath),
	}
	for _, f := range []string{"p50", "p99", "goodput"} {
		for _, variant := range names(gateFloods) {
			list = append(list, bench.RatioOf(figureName(variant, floodPoint, f), figureName(variant, quietPoint, f)))
		}
		list = append(list, bench.RatioOf(figureName("mmsg+hold", floodPoint, f), figureName("mmsg", floodPoint, f)))
	}
	return list
}

// judge fills in the summaries, ratios and the verdict.
func (r *GateResult) judge(required []bench.Requirement, missing, absent map[string]error) {
	r.Notes = []string{}
	medians := map[string]float64{}
	for _, s := range summarise(gateCases, r.Samples, missing) {
		c := gateCase{summary: s}
		if s.CPUPerPacket != nil {
			medians[s.Variant], medians[s.Variant+atPath] = s.CPUPerPacket.Median, s.PathCPUPerPacket.Median
			r.NoteNoise(s.Variant, s.CPUPerPacket)
		}
		if s.Asked != nil && !strings.HasPrefix(s.Variant, "mmsg") {
			rate := s.Asked.Median * s.PacketsPerSecond.Median
			c.LookUps = &rate
		}
		r.Cases = append(r.Cases, c)
	}
	for _, at := range []string{quietPoint, floodPoint} {
		for _, variant := range names(gateFloods) {
			if s := summarisePoint(r.Floods, variant, at); s != nil {
				r.Points = append(r.Points, *s)
				s.takeMedians(medians)
			}
		}
	}
	r.NoteMissing(names(gateFloods), absent, " in a flood")
	noteDisturbed(&r.Judgement, r.Samples)
	r.NoteOneCPU(r.Settings.LoadCPU, r.Settings.DaemonCPU, "the daemon")
	r.Ratios = bench.CompareMedians(medians, gateRatios(), required)
	failures := append(bench.FailedTurns(r.Samples, r.Interrupted), bench.FailedTurns(r.Floods, false)...)
	r.Verdict = bench.JudgeRatios(r.Ratios, len(r.Samples)+len(r.Floods), failures, "No bounds were required.")
}

// WriteText writes the tables for people, and the verdict below them.
func (r *GateResult) WriteText(w io.Writer) error {
	var text strings.Builder
	s := &r.Settings
	fmt.Fprintln(&text, &r.Host)
	fmt.Fprintf(&text, "%d rounds of %d packets of settled flows, or %d of new flows; first and held: how long the gate "+
		"had a packet.\n\n", s.Rounds, s.Packets, s.Fresh)
	t := tabwriter.NewWriter(&text, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "packets\tCPU us/packet\tpath us/packet\tpackets/s\tlook-ups/s\tfirst p50 us\tp99 us\theld p50 us\tp99 us")
	for i := range r.Cases {
		c := &r.Cases[i]
		if c.CPUPerPacket == nil {
			continue
		}
		lookups := "-"
		if c.LookUps != nil {
			lookups = fmt.Sprintf("%.0f", *c.LookUps)
		}
		fmt.Fprintf(t, "%s\t%.2f\t%.2f\t%.0f\t%s\t%s\t%s\t%s\t%s\n", c.Variant, c.CPUPerPacket.Median,
			c.PathCPUPerPacket.Median, c.PacketsPerSecond.Median, lookups, c.FirstUS.MedianText(), c.FirstP99.MedianText(),
			c.HeldUS.MedianText(), c.HeldP99.MedianText())
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(&text, "\nHow long packets of settled flows take, %.0f a second for %gs: quiet, and while up to %d new flows "+
		"come from random sources as fast as they can be sent.\n\n", s.Rate, s.Seconds, s.Flood)
	fmt.Fprintln(t, "beside\tprogram\tp50 us\tp99 us\tp99.9 us\tmax us\tlost\tnew flows/s")
	for i := range r.Points {
		p := &r.Points[i]
		fmt.Fprintf(t, "%s\t%s\t%.0f\t%.0f\t%.0f\t%.0f\t%.1f %%\t%.0f\n", p.Name, p.Variant, p.P50.Median, p.P99.Median,
			p.P999.Median, p.Max.Median, 100*float64(p.Sent-p.Arrived)/float64(p.Sent), p.Flood)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for i := range r.Cases {
		if c := &r.Cases[i]; c.CPUPerPacket == nil {
			fmt.Fprintf(&text, "%s: not measured: %s\n", c.Variant, c.NotMeasured)
		}
	}
	fmt.Fprintln(&text)
	return r.Judgement.WriteText(w, &text)
}
