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
	PacketsPerSecond  *spread `json:"packets_per_second"`
	PacketsPerReceive *spread `json:"packets_per_receive"`
}

// ratios are those that are always shown.
var ratios = []ratio{
	{"mmsg", "c"},
	{"mmsg+reinject", "c"},
	{"mmsg", "gonfqueue"},
	{"mmsg+reinject", "gonfqueue+reinject"},
	{"mmsg+reinject", "mmsg"},
}

// summarise puts the rounds of each variant together. Missing says why a variant was not run at all.
func summarise(samples []sample, missing map[string]error) []summary {
	var list []summary
	for i := range variants {
		s := summary{Variant: variants[i].name}
		var cpu, rate, receive []float64
		invalid := ""
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
			cpu, rate = append(cpu, m.CPUPerPacket), append(rate, m.PacketsPerSecond)
			if m.PacketsPerReceive != nil {
				receive = append(receive, *m.PacketsPerReceive)
			}
		}
		s.NotMeasured = whyNot(s.ValidRounds, missing[s.Variant], invalid)
		s.CPUPerPacket, s.PacketsPerSecond, s.PacketsPerReceive = newSpread(cpu), newSpread(rate), newSpread(receive)
		list = append(list, s)
	}
	return list
}

// judge fills in ratios, notes and the verdict.
func (b *benchResult) judge(required []requirement, missing map[string]error) {
	b.Variants, b.Notes = summarise(b.Samples, missing), []string{}
	medians := map[string]float64{}
	for i := range b.Variants {
		if s := &b.Variants[i]; s.CPUPerPacket != nil {
			medians[s.Variant] = s.CPUPerPacket.Median
			b.noteNoise(s.Variant, s.CPUPerPacket)
		}
	}
	b.noteOneCPU(b.Settings.LoadCPU, b.Settings.DaemonCPU, "the daemon")
	b.Ratios = compareMedians(medians, ratios, required)
	b.Verdict = judgeRatios(b.Ratios, failedTurns(b.Samples, b.Interrupted), "Every packet of every round arrived; no bounds were required.")
}

// writeText writes the tables for people, and the verdict below them.
func (b *benchResult) writeText(w io.Writer) error {
	var text strings.Builder
	h, s := &b.Host, &b.Settings
	fmt.Fprintf(&text, "Linux %s, %s, %s, %d CPUs\n", h.Kernel, h.Architecture, h.Distribution, h.CPUs)
	fmt.Fprintf(&text, "%d rounds of %d packets with %d bytes of payload, in %d settled flows, at most %d under way; one queue, everything accepted.\n",
		s.Rounds, s.Packets, s.Payload, s.Flows, s.Window)
	fmt.Fprintf(&text, "The daemon runs on CPU %d, the load on CPU %d. CPU per packet is all of the daemon's threads' time, user and system.\n\n", s.DaemonCPU, s.LoadCPU)

	t := tabwriter.NewWriter(&text, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "daemon\tCPU us/packet\tmin..max\tpackets/s\tpackets/receive\trounds")
	for i := range b.Variants {
		v := &b.Variants[i]
		if v.CPUPerPacket == nil {
			continue
		}
		receive := "1" // what the C program does
		if v.PacketsPerReceive != nil {
			receive = fmt.Sprintf("%.1f", v.PacketsPerReceive.Median)
		}
		c := v.CPUPerPacket
		fmt.Fprintf(t, "%s\t%.2f\t%.2f..%.2f\t%.0f\t%s\t%d\n", v.Variant, c.Median, c.Min, c.Max, v.PacketsPerSecond.Median, receive, v.ValidRounds)
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
