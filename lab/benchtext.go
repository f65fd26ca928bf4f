package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

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
	if err := writeVerdict(&text, b.Ratios, b.Notes, &b.Verdict); err != nil {
		return err
	}
	if _, err := io.WriteString(w, text.String()); err != nil {
		return fmt.Errorf("write the table: %w", err)
	}
	return nil
}

// writeVerdict writes the ratios, what is to be said of the figures, and what they come to.
func writeVerdict(text *strings.Builder, ratios []ratioResult, notes []string, verdict *benchVerdict) error {
	t := tabwriter.NewWriter(text, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "ratio\tmeasured\tbound")
	for i := range ratios {
		r := &ratios[i]
		measured := "-"
		if r.Ratio != nil {
			measured = fmt.Sprintf("%.3f", *r.Ratio)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", r.name(), measured, r.bound())
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(text)
	for _, note := range notes {
		fmt.Fprintf(text, "Note: %s\n", note)
	}
	for _, failure := range verdict.Failures {
		fmt.Fprintf(text, "Failed: %s\n", failure)
	}
	fmt.Fprintln(text, verdict.Line)
	return nil
}
