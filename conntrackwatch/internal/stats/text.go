package stats

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"verdictd/internal/cli"
	"verdictd/internal/ct"
)

// known are the counters worth a row or column: those that the kernel sends, and those that only older or newer ones do
// not send although they tell of clashes.
func (r *Result) known() (list []ct.Counter, absent bool) {
	for _, c := range ct.AllCounters() {
		sent := r.Total[c].Sent
		if sent || !c.Gone() {
			list = append(list, c)
			absent = absent || !sent
		}
	}
	return list, absent
}

// WriteText writes a row for each counter with its meaning, and below, if asked to, one for each CPU.
func (r *Result) WriteText(w io.Writer) error {
	counters, absent := r.known()
	if r.options.Named {
		fmt.Fprintf(w, "namespace %s\n", r.NetNS) // what fails here fails below, too
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if r.options.Once {
		fmt.Fprintln(t, "counter\ttotal\t"+r.counts())
	} else {
		fmt.Fprintln(t, "counter\tsince start\ta second\ttotal\t"+r.counts())
	}
	for _, c := range counters {
		r.counter(t, c)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if r.options.PerCPU {
		if err := r.writeCPUs(w, counters); err != nil {
			return err
		}
	}
	var text strings.Builder
	if absent {
		fmt.Fprintln(&text, "-: not sent by this kernel (clash_resolve: since 5.10, chain_toolong: since 5.15)")
	}
	if !r.options.Once {
		fmt.Fprintf(&text, "in %.1f s; ", r.Seconds)
	}
	fmt.Fprintf(&text, "the table holds %v of at most %v entries\n", r.Table.Entries, r.Table.MaxEntries)
	if r.idle() {
		fmt.Fprintln(&text, unused)
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// unused is said where conntrack may not be active at all: all rows of 0 look like good news.
const unused = `No entry is there, and nothing was ever counted. As long as no rule here needs conntrack (ct in nft,
-m conntrack or NAT in iptables), nothing is tracked, and nothing can clash. To see clashes:
stress clash --topology loopback`

// idle reports whether nothing tells of a packet that was tracked.
func (r *Result) idle() bool {
	for _, n := range r.Absolute {
		if n.N > 0 {
			return false
		}
	}
	return r.Table.Entries.Sent && r.Table.Entries.N == 0
}

// counter writes the row of one, with its meaning in as many lines as that takes.
func (r *Result) counter(t io.Writer, c ct.Counter) {
	figures, besides := fmt.Sprintf("%v\t%v", c, r.Absolute[c]), "\t"
	wide := cli.TableColumns - len("search_restart  total  ")
	if !r.options.Once {
		rate := "-"
		if perSecond, ok := r.PerSecond.Of(c); ok {
			rate = strconv.FormatFloat(perSecond, 'f', 1, 64)
		}
		figures, besides = fmt.Sprintf("%v\t%v\t%s\t%v", c, r.Total[c], rate, r.Absolute[c]), "\t\t\t"
		wide -= len("since start  a second  ")
	}
	for _, line := range (cli.Look{Width: wide}).Wrap(r.Meaning[c.String()]) {
		fmt.Fprintf(t, "%s\t%s\n", figures, line)
		figures = besides
	}
}

// counts heads the column of the meanings.
func (r *Result) counts() string {
	if r.Kernel == "" {
		return ""
	}
	return "counts on Linux " + r.Kernel
}

// writeCPUs writes what each CPU counted.
func (r *Result) writeCPUs(w io.Writer, counters []ct.Counter) error {
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	row(t, "cpu", counters, ct.Counter.String)
	for _, cpu := range r.CPUs {
		if cpu.Zero() && !r.options.All {
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

// Row is a sample as rows under a header: what the counters rose by since the sample before.
type Row struct {
	*Result
	Header bool
}

// WriteText pads each cell itself, as rows of different times line up. A counter may outgrow its column.
func (r *Row) WriteText(w io.Writer) error {
	const clock, narrow = "15:04:05", 7
	counters, _ := r.known()
	var text strings.Builder
	line := func(time, netns, cpu string, cell func(ct.Counter) string) {
		fmt.Fprintf(&text, "%-8s", time)
		if r.options.Named {
			fmt.Fprintf(&text, " %-20s", netns)
		}
		if r.options.PerCPU {
			fmt.Fprintf(&text, " %5s", cpu)
		}
		for _, c := range counters {
			fmt.Fprintf(&text, " %*s", max(narrow, len(c.String())), cell(c))
		}
		text.WriteByte('\n')
	}
	if r.Header {
		line("time", "netns", "cpu", ct.Counter.String)
	}
	now := r.Time.Format(clock)
	if r.options.PerCPU {
		for _, cpu := range r.Last.CPUs {
			if !cpu.Zero() || r.options.All {
				line(now, r.NetNS, strconv.Itoa(cpu.CPU), func(c ct.Counter) string { return cpu.Counters[c].String() })
			}
		}
	}
	line(now, r.NetNS, "total", func(c ct.Counter) string { return r.Last.Total[c].String() })
	_, err := io.WriteString(w, text.String())
	return err
}
