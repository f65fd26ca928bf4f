package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"verdictd/internal/report"
)

// benchResult is what `lab bench --json` writes.
type benchResult struct {
	benchHead[report.Host, benchSettings, sample]
	Variants []summary `json:"variants"`
	benchJudgement
}

type benchSettings struct {
	Rounds    int `json:"rounds"`
	Packets   int `json:"packets"`
	Fresh     int `json:"fresh_packets"`
	Window    int `json:"window"`
	Flows     int `json:"flows"`
	Payload   int `json:"payload_bytes"`
	LoadCPU   int `json:"load_cpu"`
	DaemonCPU int `json:"daemon_cpu"`
}

// A summary is one variant over all rounds.
type summary struct {
	Variant string `json:"variant"`
	// NotMeasured says why there are no figures; empty if there are.
	NotMeasured       string  `json:"not_measured"`
	ValidRounds       int     `json:"valid_rounds"`
	CPUPerPacket      *spread `json:"cpu_us_per_packet"`
	PathCPUPerPacket  *spread `json:"path_cpu_us_per_packet"`
	PacketsPerSecond  *spread `json:"packets_per_second"`
	PacketsPerReceive *spread `json:"packets_per_receive"`
	FirstUS           *spread `json:"first_us"`
	HeldUS            *spread `json:"held_us"`
}

// atPath names the figure of the whole path.
const atPath = "@path"

// variantFigures are the names that ratios are of.
func variantFigures() []string {
	names := variantNames()
	for i := range variants {
		names = append(names, variants[i].name()+atPath)
	}
	return names
}

// ratios are those that are always shown.
var ratios = []ratio{
	{"mmsg", "c"},
	{"mmsg", "gonfqueue"},
	{"mmsg+hold", "c"},
	{"mmsg+hold", "gonfqueue+hold"},
	{"mmsg+hold", "mmsg"},
	{"mmsg+hold" + atPath, "mmsg" + atPath},
	{"c+hold" + atPath, "c" + atPath},
	{"burst:mmsg+hold" + atPath, "burst:mmsg" + atPath},
	{"answer:mmsg+hold" + atPath, "answer:mmsg" + atPath},
}

// summarise puts the rounds of each variant together. Missing says why a variant was not run at all.
func summarise(samples []sample, missing map[string]error) []summary {
	var list []summary
	for i := range variants {
		s := summary{Variant: variants[i].name()}
		var cpu, path, rate, receive, first, held []float64
		invalid := ""
		add := func(to *[]float64, x *float64) {
			if x != nil {
				*to = append(*to, *x)
			}
		}
		for j := range samples {
			m := &samples[j]
			switch {
			case m.Variant != s.Variant:
				continue
			case m.Invalid != "":
				invalid = m.Invalid
				continue
			}
			s.ValidRounds++
			cpu, path, rate = append(cpu, m.CPUPerPacket), append(path, m.PathCPUPerPacket), append(rate, m.PacketsPerSecond)
			add(&receive, m.PacketsPerReceive)
			add(&first, m.FirstUS)
			add(&held, m.HeldUS)
		}
		s.NotMeasured = whyNot(s.ValidRounds, missing[s.Variant], invalid)
		s.CPUPerPacket, s.PathCPUPerPacket, s.PacketsPerSecond = newSpread(cpu), newSpread(path), newSpread(rate)
		s.PacketsPerReceive, s.FirstUS, s.HeldUS = newSpread(receive), newSpread(first), newSpread(held)
		list = append(list, s)
	}
	return list
}

// judge fills in ratios, notes and the verdict.
func (b *benchResult) judge(required []requirement, missing map[string]error) {
	b.Variants, b.Notes = summarise(b.Samples, missing), []string{}
	medians, widths := map[string]float64{}, map[string]float64{}
	for i := range b.Variants {
		s := &b.Variants[i]
		for name, figure := range map[string]*spread{s.Variant: s.CPUPerPacket, s.Variant + atPath: s.PathCPUPerPacket} {
			if figure != nil && figure.Median > 0 {
				medians[name], widths[name] = figure.Median, figure.relative()
			}
		}
		if s.CPUPerPacket != nil {
			b.noteNoise(s.Variant, s.CPUPerPacket)
		}
	}
	b.noteOneCPU(b.Settings.LoadCPU, b.Settings.DaemonCPU, "the daemon")
	b.Ratios = compareMedians(medians, ratios, required)
	for i := range b.Ratios {
		if width, ok := widths[b.Ratios[i].Under]; ok {
			b.Ratios[i].UnderSpread = &width
		}
	}
	b.Verdict = judgeRatios(b.Ratios, failedTurns(b.Samples, b.Interrupted), "Every packet of every round arrived; no bounds were required.")
}

// WriteText writes the tables for people, and the verdict below them.
func (b *benchResult) WriteText(w io.Writer) error {
	var text strings.Builder
	h, s := &b.Host, &b.Settings
	fmt.Fprintf(&text, "Linux %s, %s, %s, %d CPUs\n", h.Kernel, h.Architecture, h.Distribution, h.CPUs)
	fmt.Fprintf(&text, "%d rounds of %d packets with %d bytes of payload in %d settled flows, or %d in new flows: bursts of %d, or one packet and its answer;\n",
		s.Rounds, s.Packets, s.Payload, s.Flows, s.Fresh, caseBurst.burstOf())
	fmt.Fprintf(&text, "at most %d under way; one queue, everything accepted.\n", s.Window)
	fmt.Fprintf(&text, "The program runs on CPU %d, the load on CPU %d. CPU is all time of the program's threads, and of verdictd guard's before another one; path adds the sends, in which are rules and conntrack.\n",
		s.DaemonCPU, s.LoadCPU)
	fmt.Fprintf(&text, "first and held: how long the gate had a packet, medians.\n\n")

	t := tabwriter.NewWriter(&text, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "program\tCPU us/packet\tmin..max\tpath us/packet\tmin..max\tpackets/s\tpackets/receive\tfirst us\theld us\trounds")
	for i := range b.Variants {
		v := &b.Variants[i]
		if v.CPUPerPacket == nil {
			continue
		}
		receive := "1" // what the C program does
		if v.PacketsPerReceive != nil {
			receive = fmt.Sprintf("%.1f", v.PacketsPerReceive.Median)
		}
		c, p := v.CPUPerPacket, v.PathCPUPerPacket
		fmt.Fprintf(t, "%s\t%.2f\t%.2f..%.2f\t%.2f\t%.2f..%.2f\t%.0f\t%s\t%s\t%s\t%d\n", v.Variant, c.Median, c.Min, c.Max, p.Median, p.Min, p.Max,
			v.PacketsPerSecond.Median, receive, v.FirstUS.median(), v.HeldUS.median(), v.ValidRounds)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for i := range b.Variants {
		if v := &b.Variants[i]; v.CPUPerPacket == nil {
			fmt.Fprintf(&text, "%s: not measured: %s\n", v.Variant, v.NotMeasured)
		}
	}

	fmt.Fprintln(&text)
	return b.benchJudgement.writeText(w, &text)
}
