package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"verdictd/internal/ct"
)

// known are the counters worth a row or column: those that the kernel sends, and those that only older or newer ones do not
// send although they tell of clashes.
func (r *statsResult) known() (list []ct.Counter, absent bool) {
	for _, c := range ct.AllCounters() {
		sent := r.Total[c].Sent
		if sent || !c.Gone() {
			list = append(list, c)
			absent = absent || !sent
		}
	}
	return list, absent
}

// writeText writes a row for each counter with its meaning, and below, if asked to, one for each CPU.
func (r *statsResult) writeText(w io.Writer) error {
	counters, absent := r.known()
	if r.cmd.named() {
		fmt.Fprintf(w, "namespace %s\n", r.NetNS) // what fails here fails below, too
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if r.cmd.Once {
		fmt.Fprintln(t, "counter\ttotal\t"+r.counts())
	} else {
		fmt.Fprintln(t, "counter\tsince start\ta second\ttotal\t"+r.counts())
	}
	for _, c := range counters {
		if r.cmd.Once {
			fmt.Fprintf(t, "%v\t%v\t%s\n", c, r.Absolute[c], r.Meaning[c.String()])
			continue
		}
		rate := "-"
		if perSecond, ok := r.PerSecond.Of(c); ok {
			rate = strconv.FormatFloat(perSecond, 'f', 1, 64)
		}
		fmt.Fprintf(t, "%v\t%v\t%s\t%v\t%s\n", c, r.Total[c], rate, r.Absolute[c], r.Meaning[c.String()])
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if r.cmd.PerCPU {
		if err := r.writeCPUs(w, counters); err != nil {
			return err
		}
	}
	var text strings.Builder
	if absent {
		fmt.Fprintln(&text, "-: not sent by this kernel (clash_resolve: since 5.10, chain_toolong: since 5.15)")
	}
	if !r.cmd.Once {
		fmt.Fprintf(&text, "in %.1f s; ", r.Seconds)
	}
	fmt.Fprintf(&text, "the table holds %v of at most %v entries\n", r.Table.Entries, r.Table.MaxEntries)
	_, err := io.WriteString(w, text.String())
	return err
}

// counts heads the column of the meanings.
func (r *statsResult) counts() string {
	if r.Kernel == "" {
		return ""
	}
	return "counts on Linux " + r.Kernel
}

// writeCPUs writes what each CPU counted.
func (r *statsResult) writeCPUs(w io.Writer, counters []ct.Counter) error {
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	row(t, "cpu", counters, ct.Counter.String)
	for _, cpu := range r.CPUs {
		if cpu.Zero() && !r.cmd.All {
			continue
		}
		row(t, strconv.Itoa(cpu.CPU), counters, func(c ct.Counter) string { return cpu.Counters[c].String() })
	}
	row(t, "total", counters, func(c ct.Counter) string { return r.Total[c].String() })
	return t.Flush()
}

// row writes the first cell and one for each column. Each ends in a tab: tabwriter aligns terminated cells only.
// Errors stay with the tabwriter, whose Flush returns them.
func row(t *tabwriter.Writer, first string, columns []ct.Counter, cell func(ct.Counter) string) {
	fmt.Fprint(t, first, "\t")
	for _, c := range columns {
		fmt.Fprint(t, cell(c), "\t")
	}
	fmt.Fprintln(t)
}

// statsRow is a sample as rows under a header: what the counters rose by since the sample before.
type statsRow struct {
	*statsResult
	header bool
}

// writeText pads each cell itself, as rows of different times line up. A counter may outgrow its column.
func (r *statsRow) writeText(w io.Writer) error {
	const clock, narrow = "15:04:05", 7
	counters, _ := r.known()
	var text strings.Builder
	line := func(time, netns, cpu string, cell func(ct.Counter) string) {
		fmt.Fprintf(&text, "%-8s", time)
		if r.cmd.named() {
			fmt.Fprintf(&text, " %-20s", netns)
		}
		if r.cmd.PerCPU {
			fmt.Fprintf(&text, " %5s", cpu)
		}
		for _, c := range counters {
			fmt.Fprintf(&text, " %*s", max(narrow, len(c.String())), cell(c))
		}
		text.WriteByte('\n')
	}
	if r.header {
		line("time", "netns", "cpu", ct.Counter.String)
	}
	now := r.Time.Format(clock)
	if r.cmd.PerCPU {
		for _, cpu := range r.Last.CPUs {
			if !cpu.Zero() || r.cmd.All {
				line(now, r.NetNS, strconv.Itoa(cpu.CPU), func(c ct.Counter) string { return cpu.Counters[c].String() })
			}
		}
	}
	line(now, r.NetNS, "total", func(c ct.Counter) string { return r.Last.Total[c].String() })
	_, err := io.WriteString(w, text.String())
	return err
}
