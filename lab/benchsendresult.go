package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"verdictd/internal/provenance"
)

// sendResult is what `lab bench send --json` writes.
type sendResult struct {
	Schema      int             `json:"schema"`
	Version     string          `json:"version"`
	Host        provenance.Host `json:"host"`
	Settings    sendSettings    `json:"settings"`
	Interrupted bool            `json:"interrupted"`
	Samples     []sendSample    `json:"samples"`
	Senders     []sendSummary   `json:"senders"`
	Ratios      []ratioResult   `json:"ratios"`
	Notes       []string        `json:"notes"`
	Verdict     benchVerdict    `json:"verdict"`
}

type sendSettings struct {
	Rounds   int `json:"rounds"`
	Packets  int `json:"packets"`
	Clashing int `json:"clashing_packets"`
	Size     int `json:"payload_bytes"`
	Batch    int `json:"batch"`
	Flows    int `json:"flows"`
	Segments int `json:"segments"`
}

// A sendSummary is one sender over all rounds.
type sendSummary struct {
	Sender string `json:"sender"`
	What   string `json:"what"`
	// NotMeasured says why there are no figures; empty if there are.
	NotMeasured      string  `json:"not_measured"`
	ValidRounds      int     `json:"valid_rounds"`
	CPUPerPacket     *spread `json:"cpu_us_per_packet"`
	PerCPUSecond     *spread `json:"packets_per_cpu_second"`
	PacketsPerSecond *spread `json:"packets_per_second"`
	// Clashes and Packets are sums, ClashesPerPacket one by the other.
	Clashes          *uint64  `json:"clashes"`
	Packets          uint64   `json:"packets"`
	ClashesPerPacket *float64 `json:"clashes_per_packet"`
}

// sendRatios are those that are always shown.
var sendRatios = []ratio{{"flood", "c"}, {"flood", "trafgen"}, {"flood+gso", "trafgen"}, {"flood+gso", "c"}, {"clash", "udpclash"}}

// summariseSenders puts the rounds of each sender together. Missing says why one was not run at all.
func summariseSenders(samples []sendSample, missing map[string]error) []sendSummary {
	var list []sendSummary
	for _, sender := range senders {
		s := sendSummary{Sender: sender.name, What: sender.what}
		var cpu, core, rate []float64
		for i := range samples {
			m := &samples[i]
			switch {
			case m.Sender != s.Sender:
				continue
			case m.Invalid != "":
				s.NotMeasured = m.Invalid
				continue
			}
			s.ValidRounds++
			s.Packets += m.Packets
			if m.Clashes != nil {
				sum := *m.Clashes
				if s.Clashes != nil {
					sum += *s.Clashes
				}
				s.Clashes = &sum
				continue
			}
			cpu, core, rate = append(cpu, *m.CPUPerPacket), append(core, *m.PerCPUSecond), append(rate, *m.PacketsPerSecond)
		}
		s.CPUPerPacket, s.PerCPUSecond, s.PacketsPerSecond = newSpread(cpu), newSpread(core), newSpread(rate)
		if s.Clashes != nil {
			per := float64(*s.Clashes) / float64(max(1, s.Packets))
			s.ClashesPerPacket = &per
		}
		switch err := missing[s.Sender]; {
		case s.ValidRounds > 0:
			s.NotMeasured = ""
		case err != nil:
			s.NotMeasured = err.Error()
		case s.NotMeasured == "":
			s.NotMeasured = "interrupted"
		}
		list = append(list, s)
	}
	return list
}

// figures are what ratios are made of: the median of packets a second of a core, and clashes a packet. Of a sender without a
// clash the latter is below 3 by its packets, with a confidence of 95 % (the rule of three); that bound stands in for it,
// so that a ratio with it is smaller than the true one.
func figures(list []sendSummary) (by map[string]float64, notes []string) {
	by = map[string]float64{}
	for i := range list {
		s := &list[i]
		switch {
		case s.PerCPUSecond != nil:
			by[s.Sender] = s.PerCPUSecond.Median
			if w := s.PerCPUSecond.relative(); w > noisy {
				notes = append(notes, fmt.Sprintf("%s varies by %.0f %% of its median between rounds: this machine is busy or noisy. Repeat on a quiet one, or with more --rounds.", s.Sender, 100*w))
			}
		case s.Clashes != nil && *s.Clashes > 0:
			by[s.Sender] = *s.ClashesPerPacket
		case s.Sender == "udpclash" && s.Clashes != nil && s.Packets > 0:
			const ofThree = 3
			by[s.Sender] = ofThree / float64(s.Packets)
			notes = append(notes, fmt.Sprintf("udpclash had no clash in %d packets: its ratio is with %.2g clashes a packet, below which its rate is with a confidence of 95 %%.", s.Packets, by[s.Sender]))
		}
	}
	return by, notes
}

// judge fills in ratios, notes and the verdict.
func (r *sendResult) judge(required []requirement, missing map[string]error) {
	r.Senders = summariseSenders(r.Samples, missing)
	by, notes := figures(r.Senders)
	r.Notes = append([]string{}, notes...)
	r.Ratios = compareMedians(by, sendRatios, required)
	failures := []string{}
	for i := range r.Samples {
		if s := &r.Samples[i]; s.Invalid != "" {
			failures = append(failures, fmt.Sprintf("%s, round %d does not count: %s", s.Sender, s.Round, s.Invalid))
		}
	}
	if r.Interrupted {
		failures = append(failures, "interrupted before the last round")
	}
	r.Verdict = judgeRatios(r.Ratios, failures, "Every packet of every round was counted at the far end; no bounds were required.")
}

// document is the result as JSON.
func (r *sendResult) document() ([]byte, error) {
	text, err := json.MarshalIndent(r, "", "  ")
	return append(text, '\n'), err
}

// writeText writes the tables for people, and the verdict below them.
func (r *sendResult) writeText(w io.Writer) error {
	var text strings.Builder
	h, s := &r.Host, &r.Settings
	fmt.Fprintf(&text, "Linux %s, %s, %s, %d CPUs\n", h.Kernel, h.Architecture, h.Distribution, h.CPUs)
	fmt.Fprintf(&text, "%d rounds. Fast senders: %d packets with %d bytes of payload each, over a veth pair to a hardware address that nobody has,\n", s.Rounds, s.Packets, s.Size)
	fmt.Fprintf(&text, "counted where they come in. CPU is the whole program's, without what a tenth of the packets takes it to start and end.\n")
	fmt.Fprintf(&text, "Clashing ones: %d packets through a router that translates the destination, counted by its conntrack.\n\n", s.Clashing)

	t := tabwriter.NewWriter(&text, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "sender\tpackets/s of a core\tmin..max\tCPU us/packet\tpackets/s\tclashes/packet\trounds")
	for i := range r.Senders {
		switch v := &r.Senders[i]; {
		case v.PerCPUSecond != nil:
			c := v.PerCPUSecond
			fmt.Fprintf(t, "%s\t%.0f\t%.0f..%.0f\t%.3f\t%.0f\t-\t%d\n", v.Sender, c.Median, c.Min, c.Max, v.CPUPerPacket.Median, v.PacketsPerSecond.Median, v.ValidRounds)
		case v.ClashesPerPacket != nil:
			fmt.Fprintf(t, "%s\t-\t-\t-\t-\t%.5f (%d of %d)\t%d\n", v.Sender, *v.ClashesPerPacket, *v.Clashes, v.Packets, v.ValidRounds)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for i := range r.Senders {
		if v := &r.Senders[i]; v.NotMeasured != "" {
			fmt.Fprintf(&text, "%s: not measured: %s\n", v.Sender, v.NotMeasured)
		}
	}
	fmt.Fprintln(&text)
	for i := range r.Senders {
		fmt.Fprintf(&text, "%s: %s\n", r.Senders[i].Sender, r.Senders[i].What)
	}
	fmt.Fprintln(&text)
	if err := writeVerdict(&text, r.Ratios, r.Notes, &r.Verdict); err != nil {
		return err
	}
	if _, err := io.WriteString(w, text.String()); err != nil {
		return fmt.Errorf("write the table: %w", err)
	}
	return nil
}
