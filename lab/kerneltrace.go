package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"verdictd/internal/cli"
	"verdictd/internal/vm"
)

// kernelTraceCmd is `lab kernel trace`.
type kernelTraceCmd struct {
	machine
	Flows   int           `help:"Flows of each load." default:"100"`
	Burst   int           `help:"Packets of each flow: all but one of them clash." default:"4"`
	Timeout time.Duration `help:"How long all of it may take." default:"10m"`
	Console bool          `help:"Show the kernel's console on stderr."`
	JSON    string        `name:"json" help:"Write the rows as JSON to FILE; - writes them to stdout, and the table to stderr." placeholder:"FILE"`
}

// Help is called by kong.
func (c *kernelTraceCmd) Help() string {
	return "Checks conntrackwatch trace against loads whose clashes are known: queues hold all packets of all flows, so that all but one of each" +
		" flow clash. Each has to be shown once with its tuple, and those at confirm have to be as many as the kernel counts in clash_resolve." +
		" The kernel has to describe its types (CONFIG_DEBUG_INFO_BTF) and to have fentry and kprobes, as those of distributions do."
}

// Validate is called by kong.
func (c *kernelTraceCmd) Validate() error {
	const most = 10_000 // packets that wait at a time
	if c.Flows < 1 || c.Burst < 2 || c.Burst > maxBurst || c.Flows > most/c.Burst {
		return fmt.Errorf("--flows %d of --burst %d are not possible: at least 1 of 2 to %d packets, and %d packets in all", c.Flows, c.Burst, maxBurst, most)
	}
	return nil
}

// Run is called by kong.
func (c *kernelTraceCmd) Run(ctx context.Context, std streams) error {
	image, config, err := c.config(ctx, std.err)
	if err != nil {
		return err
	}
	if err := canWrite(c.JSON); err != nil {
		return err
	}
	config.Command = []string{"/bin/lab", "kernel", "trace-guest", "--flows", strconv.Itoa(c.Flows), "--burst", strconv.Itoa(c.Burst)}
	config.Timeout = c.Timeout
	config.Stderr = std.err
	if c.Console {
		config.Console = std.err
	}
	result, err := vm.Run(ctx, config)
	if err != nil {
		return err
	}
	if result.Ended != vm.EndedExited || result.ExitStatus != 0 {
		run := kernelRun{Image: image, Command: config.Command, Result: result}
		return run.end(std.err)
	}
	var report traceReport
	if err := json.Unmarshal(result.Stdout, &report); err != nil {
		return fmt.Errorf("read the guest's result: %w", err)
	}
	report.Image, report.Seconds = image, result.Seconds
	err = std.write(c.JSON, report.writeText, report)
	if err != nil {
		return err
	}
	if report.disagrees() {
		return cli.ErrReported
	}
	return nil
}

// traceReport is the result.
type traceReport struct {
	Schema  int        `json:"schema"`
	Image   image      `json:"image"`
	Kernel  string     `json:"kernel"`
	Seconds float64    `json:"seconds"`
	Rows    []traceRow `json:"rows"`
}

// traceRow is one load and what was traced of it.
type traceRow struct {
	Load      string        `json:"load"`
	Probes    []tracedProbe `json:"probes"`
	Flows     int           `json:"flows"`
	Packets   int           `json:"packets"`
	Delivered int           `json:"delivered"`

	Expected    *int `json:"expected"` // clashes; null where it is not known beforehand
	Confirm     int  `json:"confirm"`  // clashes that were traced
	Reinjection int  `json:"reinjection"`
	Dropped     int  `json:"dropped"` // of both

	ClashResolve uint64 `json:"clash_resolve"` // what the kernel counted
	InsertFailed uint64 `json:"insert_failed"`

	Disagreements []string `json:"disagreements"`
}

// tracedProbe, tracedClash and traceSummary are what the check takes over of `conntrackwatch trace --json`.
type tracedProbe struct {
	Function string `json:"function"`
	Method   string `json:"method"`
}

type tracedTuple struct {
	Src      netip.AddrPort `json:"src"`
	Dst      netip.AddrPort `json:"dst"`
	Protocol string         `json:"protocol"`
}

type tracedEntry struct {
	Address  string      `json:"address"`
	Original tracedTuple `json:"original"`
	Reply    tracedTuple `json:"reply"`
}

type tracedClash struct {
	Path    string       `json:"path"`
	Outcome string       `json:"outcome"`
	Loser   tracedEntry  `json:"loser"`
	Winner  *tracedEntry `json:"winner"`
	SKB     string       `json:"skb"`
}

type traceSummary struct {
	Schema     int           `json:"schema"`
	Probes     []tracedProbe `json:"probes"`
	Clashes    uint64        `json:"clashes"`
	Lost       uint64        `json:"lost"`
	Unfinished uint64        `json:"unfinished"`
	NoRoom     uint64        `json:"no_room"`
	Missed     uint64        `json:"missed"`
	Shown      uint64        `json:"shown"`
}

// judge counts the clashes and says where they are not what the load made, or not what the kernel counted.
func (r *traceRow) judge(made heldResult, exact bool, clashes []tracedClash, summary traceSummary) {
	r.Disagreements = []string{}
	disagree := func(format string, args ...any) {
		r.Disagreements = append(r.Disagreements, fmt.Sprintf(format, args...))
	}
	seen := make(map[netip.AddrPort]int)
	strange := 0
	droppedAtConfirm := 0
	for _, c := range clashes {
		if c.Outcome == "dropped" {
			r.Dropped++
		}
		switch {
		case c.Path != "confirm":
			r.Reinjection++
		case c.Outcome == "dropped":
			droppedAtConfirm++
			fallthrough
		default:
			r.Confirm++
		}
		if !c.right(made.target) {
			if strange++; strange == 1 {
				disagree("not a clash of this load: %+v", c)
			}
		}
		seen[c.Loser.Original.Src]++
	}
	if strange > 1 {
		disagree("%d more that are not of this load", strange-1)
	}
	if blind := summary.Lost + summary.Unfinished + summary.NoRoom + summary.Missed; blind > 0 {
		disagree("the trace missed %d", blind)
	}
	if uint64(len(clashes)) != summary.Shown {
		disagree("%d lines, and the summary says %d", len(clashes), summary.Shown)
	}
	if r.Delivered != r.Packets {
		disagree("%d packets of %d arrived", r.Delivered, r.Packets)
	}
	if counted := uint64(r.Confirm - droppedAtConfirm); counted != r.ClashResolve {
		disagree("%d clashes resolved at confirm, and the kernel counts %d in clash_resolve", counted, r.ClashResolve)
	}
	if !exact {
		if most := r.Packets - r.Flows; len(clashes) == 0 || len(clashes) > most {
			disagree("%d clashes, not 1 to %d", len(clashes), most)
		}
		return
	}
	expected, wrong := 0, 0
	for _, source := range slices.SortedFunc(maps.Keys(made.sources), netip.AddrPort.Compare) {
		n := made.sources[source]
		expected += n
		if seen[source] != n {
			if wrong++; wrong == 1 {
				disagree("the flow from %v has %d clashes, not %d", source, seen[source], n)
			}
		}
	}
	if wrong > 1 {
		disagree("%d more flows with another number of clashes", wrong-1)
	}
	if len(clashes) != expected {
		disagree("%d clashes, not %d", len(clashes), expected)
	}
	r.Expected = &expected
}

// right says whether a clash is one of two entries of the same flow, without NAT, to the target.
func (c tracedClash) right(target netip.AddrPort) bool {
	o, reply := c.Loser.Original, c.Loser.Reply
	return o.Dst == target && o.Protocol == "udp" && reply.Src == o.Dst && reply.Dst == o.Src && reply.Protocol == o.Protocol &&
		c.Outcome == "adopted" && c.Winner != nil && c.Winner.Address != c.Loser.Address && c.Winner.Original == o && c.Winner.Reply == reply
}

func (r traceReport) disagrees() bool {
	for _, row := range r.Rows {
		if len(row.Disagreements) > 0 {
			return true
		}
	}
	return len(r.Rows) == 0
}

func (r traceReport) writeText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "load\ttraced\tpackets\texpected\tat confirm\tclash_resolve\tat re-injection\t")
	for _, row := range r.Rows {
		expected := "-"
		if row.Expected != nil {
			expected = strconv.Itoa(*row.Expected)
		}
		verdict := "agrees"
		if len(row.Disagreements) > 0 {
			verdict = "DISAGREES"
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%d\t%d\t%d\t%s\n", row.Load, probesText(row.Probes), row.Packets, expected, row.Confirm, row.ClashResolve, row.Reinjection, verdict)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	var b strings.Builder
	for _, row := range r.Rows {
		for _, d := range row.Disagreements {
			fmt.Fprintf(&b, "%s, %s: %s\n", row.Load, probesText(row.Probes), d)
		}
	}
	fmt.Fprintf(&b, "Linux %s; clashes at re-injection are in no counter of the kernel's; %.0f s\n", r.Kernel, r.Seconds)
	_, err := io.WriteString(w, b.String())
	return err
}

// probesText names what tells of clashes at confirm, the first of the functions.
func probesText(probes []tracedProbe) string {
	if len(probes) == 0 {
		return "nothing"
	}
	return probes[0].Function + " by " + probes[0].Method
}
