package queue

import "verdictd/lab/internal/bench"

// barsOf compares variants by one of their figures, those that have it; nil where there are fewer than two.
func barsOf(title, unit string, list []summary, figure func(*summary) *bench.Spread) []bench.Bars {
	b := bench.Bars{Title: title, Unit: unit}
	for i := range list {
		if spread := figure(&list[i]); spread != nil {
			b.Bars = append(b.Bars, bench.BarOf(list[i].Variant, spread))
		}
	}
	if len(b.Bars) < 2 {
		return nil
	}
	return []bench.Bars{b}
}

// costs are the bars of the program's time and of the whole path's.
func costs(list []summary) []bench.Bars {
	return append(
		barsOf("Cost of a packet", "microseconds of CPU time of the program", list,
			func(s *summary) *bench.Spread { return s.CPUPerPacket }),
		barsOf("Cost of a packet's whole path", "microseconds of CPU time of the program and of the sender", list,
			func(s *summary) *bench.Spread { return s.PathCPUPerPacket })...)
}

// Charts are those of the page.
func (b *Result) Charts() ([]bench.Bars, []bench.Plot) { return costs(b.Variants), nil }

// Charts are those of the page.
func (r *LatencyResult) Charts() ([]bench.Bars, []bench.Plot) { return pointBars(r.Points), nil }

// pointBars are two charts for each rate: how long packets took, and how many arrived.
func pointBars(points []pointSummary) (list []bench.Bars) {
	for i := range points {
		if i > 0 && points[i].Name == points[i-1].Name {
			continue
		}
		p99 := bench.Bars{Title: "p99 at " + points[i].Name, Unit: "microseconds from when a packet was due to when it was seen"}
		goodput := bench.Bars{Title: "Goodput at " + points[i].Name, Unit: "packets a second that arrived"}
		for j := range points {
			if p := &points[j]; p.Name == points[i].Name {
				p99.Bars = append(p99.Bars, bench.BarOf(p.Variant, p.P99))
				goodput.Bars = append(goodput.Bars, bench.BarOf(p.Variant, p.Goodput))
			}
		}
		list = append(list, p99, goodput)
	}
	return list
}

// Charts are those of the page.
func (r *ScaleResult) Charts() ([]bench.Bars, []bench.Plot) {
	var plots []bench.Plot
	for i := range r.Curves {
		k := &r.Curves[i]
		cpu := bench.Plot{Title: "Cost by " + k.Name, Unit: "microseconds of CPU time of the program a packet", Across: k.Unit}
		memory := bench.Plot{Title: "Memory by " + k.Name, Unit: "resident MiB", Across: k.Unit}
		for _, p := range k.measured() {
			c, m := p.CPUPerPacket, p.RSS
			cpu.Points = append(cpu.Points, bench.PlotPoint{X: p.X, Y: c.Median, Low: c.Q1, High: c.Q3})
			memory.Points = append(memory.Points, bench.PlotPoint{X: p.X, Y: m.Median / kibPerMiB, Low: m.Q1 / kibPerMiB,
				High: m.Q3 / kibPerMiB})
		}
		if len(cpu.Points) > 0 {
			plots = append(plots, cpu, memory)
		}
	}
	return nil, plots
}

// Charts are those of the page.
func (r *GateResult) Charts() ([]bench.Bars, []bench.Plot) {
	list := make([]summary, len(r.Cases))
	for i := range r.Cases {
		list[i] = r.Cases[i].summary
	}
	return append(costs(list), pointBars(r.Points)...), nil
}
