package soak

import (
	"fmt"
	"io"

	"verdictd/lab/internal/bench"
)

// A Page is the result with a chart and a line of each place.
type Page struct{ *Result }

// Charts are what went through each place, and what the guard did there.
func (p Page) Charts() ([]bench.Bars, []bench.Plot) {
	sent := bench.Bars{Title: "Packets by place", Unit: "Packets that were sent"}
	held := bench.Bars{Title: "Held packets by place", Unit: "Packets that the gate held until their flow was confirmed, or its first packet gone"}
	memory := bench.Bars{Title: "Memory by place", Unit: "KiB of the program at the end"}
	for i := range p.Shares {
		s := &p.Shares[i]
		if s.Load == nil {
			continue
		}
		bar := func(value uint64) bench.Bar {
			return bench.Bar{Label: s.Placement + "/" + s.Fanout, Value: float64(value)}
		}
		sent.Bars = append(sent.Bars, bar(s.Sent))
		memory.Bars = append(memory.Bars, bar(s.RSS.End))
		if s.Gate != nil {
			held.Bars = append(held.Bars, bar(s.Gate.Held))
		}
	}
	var all []bench.Bars
	for _, bars := range []bench.Bars{sent, held, memory} {
		if len(bars.Bars) > 0 {
			all = append(all, bars)
		}
	}
	return all, nil
}

// WriteText writes the summary, and behind it the places that are not among the failures.
func (p Page) WriteText(w io.Writer) error {
	if err := p.Result.WriteText(w); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	for i := range p.Shares {
		s := &p.Shares[i]
		if len(s.Violations) > 0 {
			continue
		}
		if _, err := fmt.Fprintln(w, s.Line()); err != nil {
			return err
		}
	}
	return nil
}
