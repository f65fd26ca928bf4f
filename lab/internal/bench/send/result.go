package send

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"verdictd/internal/results"
	"verdictd/lab/internal/bench"
)

// Result is what `lab bench send --json` writes.
type Result struct {
	bench.Head[results.Host, settings, sample]
	Senders []summary `json:"senders"`
	bench.Judgement
}

type settings struct {
	Rounds   int `json:"rounds"`
	Packets  int `json:"packets"`
	Clashing int `json:"clashing_packets"`
	Size     int `json:"payload_bytes"`
	Batch    int `json:"batch"`
	Flows    int `json:"flows"`
	Segments int `json:"segments"`
}

// A summary is one sender over all rounds.
type summary struct {
	Sender string `json:"sender"`
	What   string `json:"what"`
	// NotMeasured says why there are no figures; empty if there are.
	NotMeasured      string        `json:"not_measured"`
	ValidRounds      int           `json:"valid_rounds"`
	CPUPerPacket     *bench.Spread `json:"cpu_us_per_packet"`
	PerCPUSecond     *bench.Spread `json:"packets_per_cpu_second"`
	PacketsPerSecond *bench.Spread `json:"packets_per_second"`
	// Clashes and Packets are sums, ClashesPerPacket one by the other.
	Clashes          *uint64  `json:"clashes"`
	Packets          uint64   `json:"packets"`
	ClashesPerPacket *float64 `json:"clashes_per_packet"`
}

// ratios are those that are always shown.
var ratios = []bench.Ratio{bench.RatioOf("flood", "c"), bench.RatioOf("flood", "trafgen"),
	bench.RatioOf("flood+gso", "trafgen"), bench.RatioOf("flood+gso", "c"), bench.RatioOf("clash", "udpclash")}

// summarise puts the rounds of each sender together. Missing says why one was not run at all.
func summarise(samples []sample, missing map[string]error) []summary {
	var list []summary
	for _, sender := range senders {
		s := summary{Sender: sender.name, What: sender.what}
		var cpu, core, rate []float64
		invalid := ""
		for i := range samples {
			m := &samples[i]
			switch {
			case m.Sender != s.Sender:
				continue
			case m.Invalid != "":
				invalid = m.Invalid
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
			cpu, core, rate = append(cpu, *m.CPUPerPacket), append(core, *m.PerCPUSecond),
				append(rate, *m.PacketsPerSecond)
		}
		s.CPUPerPacket, s.PerCPUSecond, s.PacketsPerSecond = bench.NewSpread(cpu), bench.NewSpread(core),
			bench.NewSpread(rate)
		if s.Clashes != nil {
			per := float64(*s.Clashes) / float64(max(1, s.Packets))
			s.ClashesPerPacket = &per
		}
		s.NotMeasured = bench.WhyNot(s.ValidRounds, missing[s.Sender], invalid)
		list = append(list, s)
	}
	return list
}

// comparable is what ratios are made of: the median of packets a second of a core, or clashes a packet; 0 where there
// is neither. Of udpclash without a clash the latter is below 3 by its packets, with a confidence of 95 % (the rule
// of three); that bound stands in for it, so that a ratio with it is smaller than the true one.
func (s *summary) comparable() (figure float64, bound bool) {
	switch {
	case s.PerCPUSecond != nil:
		return s.PerCPUSecond.Median, false
	case s.Clashes != nil && *s.Clashes > 0:
		return *s.ClashesPerPacket, false
	case s.Sender == "udpclash" && s.Clashes != nil && s.Packets > 0:
		const ofThree = 3
		return ofThree / float64(s.Packets), true
	}
	return 0, false
}

// judge fills in ratios, notes and the verdict.
func (r *Result) judge(required []bench.Requirement, missing map[string]error) {
	r.Senders, r.Notes = summarise(r.Samples, missing), []string{}
	by := map[string]float64{}
	for i := range r.Senders {
		s := &r.Senders[i]
		figure, bound := s.comparable()
		by[s.Sender] = figure
		if s.PerCPUSecond != nil {
			r.NoteNoise(s.Sender, s.PerCPUSecond)
		}
		if bound {
			r.Note("%s had no clash in %d packets: its ratio is with %.2g clashes a packet, below which its rate is "+
				"with a confidence of 95 %%.", s.Sender, s.Packets, figure)
		}
	}
	r.Ratios = bench.CompareMedians(by, ratios, required)
	r.Verdict = bench.JudgeRatios(r.Ratios, len(r.Samples), bench.FailedTurns(r.Samples, r.Interrupted),
		"Every packet of every round was counted at the far end; no bounds were required.")
}

// WriteText writes the tables for people, and the verdict below them.
func (r *Result) WriteText(w io.Writer) error {
	var text strings.Builder
	h, s := &r.Host, &r.Settings
	fmt.Fprintf(&text, "Linux %s, %s, %s, %d CPUs\n", h.Kernel, h.Architecture, h.Distribution, h.CPUs)
	fmt.Fprintf(&text, "%d rounds. Fast senders: %d packets with %d bytes of payload each, over a veth pair to a "+
		"hardware address that nobody has,\n", s.Rounds, s.Packets, s.Size)
	fmt.Fprintf(&text, "counted where they come in. CPU is the whole program's, without what a tenth of the packets "+
		"takes it to start and end.\n")
	fmt.Fprintf(&text, "Clashing ones: %d packets through a router that translates the destination, counted by its "+
		"conntrack.\n\n", s.Clashing)

	t := tabwriter.NewWriter(&text, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "sender\tpackets/s of a core\tmin..max\tCPU us/packet\tpackets/s\tclashes/packet\trounds")
	for i := range r.Senders {
		switch v := &r.Senders[i]; {
		case v.PerCPUSecond != nil:
			c := v.PerCPUSecond
			fmt.Fprintf(t, "%s\t%.0f\t%.0f..%.0f\t%.3f\t%.0f\t-\t%d\n", v.Sender, c.Median, c.Min, c.Max,
				v.CPUPerPacket.Median, v.PacketsPerSecond.Median, v.ValidRounds)
		case v.ClashesPerPacket != nil:
			fmt.Fprintf(t, "%s\t-\t-\t-\t-\t%.5f (%d of %d)\t%d\n", v.Sender, *v.ClashesPerPacket, *v.Clashes,
				v.Packets, v.ValidRounds)
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
	return r.Judgement.WriteText(w, &text)
}
