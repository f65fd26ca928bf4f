package main

import (
	"encoding/json"
	"fmt"
	"slices"

	"verdictd/internal/report"
)

// benchSchema is the version of the JSON document.
const benchSchema = 1

// noisy is a spread, relative to the median, from which on a figure is to be taken with care.
const noisy = 0.25

// benchResult is what `lab bench --json` writes.
type benchResult struct {
	Schema      int           `json:"schema"`
	Version     string        `json:"version"`
	Host        report.Host   `json:"host"`
	Settings    benchSettings `json:"settings"`
	Interrupted bool          `json:"interrupted"`
	Samples     []sample      `json:"samples"`
	Variants    []summary     `json:"variants"`
	Ratios      []ratioResult `json:"ratios"`
	Notes       []string      `json:"notes"`
	Verdict     benchVerdict  `json:"verdict"`
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

// A spread is the median of the valid rounds and the ends of their range.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
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

// A ratioResult is a ratio of medians, with its bound where there is one.
type ratioResult struct {
	Over  string   `json:"over"`
	Under string   `json:"under"`
	Ratio *float64 `json:"ratio"` // nil: one of them was not measured
	Most  *float64 `json:"most"`
	Least *float64 `json:"least,omitempty"`
	Holds *bool    `json:"holds"`
}

// bound is the bound as it was required, - where there is none.
func (r *ratioResult) bound() string {
	switch {
	case r.Most != nil:
		return fmt.Sprintf("<= %g", *r.Most)
	case r.Least != nil:
		return fmt.Sprintf(">= %g", *r.Least)
	}
	return "-"
}

func (r *ratioResult) name() string { return ratio{r.Over, r.Under}.String() }

// newSpread is nil for no values.
func newSpread(values []float64) *spread {
	if len(values) == 0 {
		return nil
	}
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return &spread{Median: (v[(n-1)/2] + v[n/2]) / 2, Min: v[0], Max: v[n-1]}
}

// relative is the range's width by the median.
func (s *spread) relative() float64 { return (s.Max - s.Min) / s.Median }

// summarise puts the rounds of each variant together. Missing says why a variant was not run at all.
func summarise(samples []sample, missing map[string]error) []summary {
	var list []summary
	for i := range variants {
		s := summary{Variant: variants[i].name}
		var cpu, rate, receive []float64
		for j := range samples {
			m := &samples[j]
			switch {
			case m.Variant != s.Variant:
				continue
			case m.Invalid != "":
				s.NotMeasured = m.Invalid
				continue
			}
			s.ValidRounds++
			cpu, rate = append(cpu, m.CPUPerPacket), append(rate, m.PacketsPerSecond)
			if m.PacketsPerReceive != nil {
				receive = append(receive, *m.PacketsPerReceive)
			}
		}
		switch err := missing[s.Variant]; {
		case s.ValidRounds > 0:
			s.NotMeasured = ""
		case err != nil:
			s.NotMeasured = err.Error()
		case s.NotMeasured == "":
			s.NotMeasured = "interrupted"
		}
		s.CPUPerPacket, s.PacketsPerSecond, s.PacketsPerReceive = newSpread(cpu), newSpread(rate), newSpread(receive)
		list = append(list, s)
	}
	return list
}

// medians are those of the CPU per packet, of the variants that were measured.
func medians(list []summary) map[string]float64 {
	m := map[string]float64{}
	for i := range list {
		if s := list[i].CPUPerPacket; s != nil {
			m[list[i].Variant] = s.Median
		}
	}
	return m
}

// judge fills in ratios, notes and the verdict.
func (b *benchResult) judge(required []requirement, missing map[string]error) {
	b.Variants = summarise(b.Samples, missing)
	b.Ratios = compareMedians(medians(b.Variants), ratios, required)
	b.Notes = []string{}
	for i := range b.Variants {
		s := &b.Variants[i]
		if s.CPUPerPacket != nil && s.CPUPerPacket.relative() > noisy {
			b.Notes = append(b.Notes, fmt.Sprintf("%s varies by %.0f %% of its median between rounds: this machine is busy or noisy. Repeat on a quiet one, or with more --rounds.", s.Variant, 100*s.CPUPerPacket.relative()))
		}
	}
	if b.Settings.LoadCPU == b.Settings.DaemonCPU {
		b.Notes = append(b.Notes, "There is one CPU only, which the load and the daemon share.")
	}
	failures := []string{}
	for i := range b.Samples {
		if s := &b.Samples[i]; s.Invalid != "" {
			failures = append(failures, fmt.Sprintf("%s, round %d does not count: %s", s.Variant, s.Round, s.Invalid))
		}
	}
	if b.Interrupted {
		failures = append(failures, "interrupted before the last round")
	}
	b.Verdict = judgeRatios(b.Ratios, failures, "Every packet of every round arrived; no bounds were required.")
}

// document is the result as JSON.
func (b *benchResult) document() ([]byte, error) {
	text, err := json.MarshalIndent(b, "", "  ")
	return append(text, '\n'), err
}
