package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"

	"verdictd/internal/crash"
	"verdictd/internal/report"
	"verdictd/internal/vm"
)

// The rules of every row spread a flow over its queues, so that two processors may give verdicts on it at a time. Before
// conntrack they must not: there verdicts that race are enough for a clash, as packets are looked up and confirmed in one go.
// Seen: 5 clashes in 600 flows, and the report.
const (
	crashQueues = 2
	crashFanout = report.FanoutNumgen
)

// el7Allocator is for the command line of a kernel of that shape. SLUB keeps free entries by processor, and a page that was
// full until one of its entries was freed is used last. With debugging there is one list for all processors; with large
// pages an entry that a clash frees mostly is in the page in use. Whoever asks next then gets it.
var el7Allocator = []string{"slub_debug=F,nf_conntrack", "slub_min_order=4"}

// reportLines bounds the report in a row.
const reportLines = 48

// boot runs one row in a machine of its own and fills the row in.
func (c *kernelCrashCmd) boot(ctx context.Context, row *report.CrashRow, image string, w io.Writer) (accelerator string, err error) {
	m := machine{Image: image, Modules: c.Modules, CPUs: c.CPUs, Memory: c.Memory, Accelerator: c.Accelerator, Bin: c.Bin}
	_, config, err := m.config(ctx, w)
	if err != nil {
		return "", err
	}
	config.Command = []string{
		"/bin/lab", "kernel", "workload", "--placement", row.Placement, "--fanout", row.Fanout, "--guard", row.Guard, "--program", row.Program, "--events", row.Events,
		"--flows", strconv.Itoa(c.Flows), "--burst", strconv.Itoa(c.Burst),
	}
	// An oops leaves the daemon's locks taken, and the machine hanging. A processor that this machine does not get to run looks
	// like a stall to the guest, which is none.
	// Without tsc=reliable, emulated processors read the time from an emulated clock chip, at three times the cost of all else.
	config.Append = append(config.Append, "oops=panic", "rcupdate.rcu_cpu_stall_suppress=1", "tsc=reliable")
	if c.el7() {
		config.Append = append(config.Append, el7Allocator...)
	}
	config.Timeout = c.Timeout
	if c.Console {
		config.Console = w
	}
	result, err := vm.Run(ctx, config)
	if err != nil {
		return "", err
	}
	return result.Accelerator, takeMachine(row, result)
}

// takeMachine fills a row in from what a machine left.
func takeMachine(row *report.CrashRow, result *vm.Result) error {
	row.Ended, row.BootSeconds, row.TotalSeconds = result.Ended, result.BootSeconds, result.Seconds
	takeReports(row, result.Reports, result.Console)
	sample, sampled := lastSample(result.Stdout)
	row.Release, row.KASAN = sample.Release, sample.KASAN
	document, ok := result.Outputs["row.json"]
	if result.Ended != vm.EndedExited || !ok {
		row.Partial = true
		if sampled {
			row.Flows, row.ClashResolve = sample.Entries, sample.ClashResolve
		}
		if result.Ended == vm.EndedExited {
			row.Error = fmt.Sprintf("the workload failed with exit status %d: %s", result.ExitStatus, bytes.TrimSpace(result.Stderr))
		}
		return nil
	}
	var done workloadResult
	if err := json.Unmarshal(document, &done); err != nil {
		return fmt.Errorf("read the workload's result: %w", err)
	}
	row.Release, row.KASAN, row.Run = done.Release, done.KASAN, done.Run
	return nil
}

// takeReports looks for the fault in what the kernel reported on its console.
func takeReports(row *report.CrashRow, reports []crash.Report, console []byte) {
	row.Report, row.Others = []string{}, []string{}
	for _, r := range reports {
		if !slices.Contains(report.CrashSignatures(), r.Signature) || row.Signature != "" {
			row.Others = append(row.Others, r.Title)
			continue
		}
		row.Signature, row.About = r.Signature, r.About
		row.Report = excerpt(r.Lines)
		if began, ok := markedAt(console); ok && r.At != nil {
			seconds := *r.At - began
			row.SecondsToFire = &seconds
		}
	}
}

var (
	// Frames that the kernel found on the stack but did not go through, registers, code, and empty lines.
	aside = regexp.MustCompile(`^ *\? |^RIP: 0033|^(RSP|RAX|RDX|RBP|R10|R13|FS|CS|CR2|Code|Modules linked in)\b|^\s*$|^={10}`)
	freed = regexp.MustCompile(`^Freed (by|in) `)
	later = regexp.MustCompile(`^(Allocated|Last potentially|Second to last|The buggy|Memory state|page:)`)
)

// excerpt is a report's beginning, up to the end of the first trace, and with it the trace of who freed the memory.
func excerpt(lines []string) []string {
	var out []string
	part := true
	for _, line := range lines {
		switch {
		case later.MatchString(line):
			part = false
		case freed.MatchString(line):
			part = true
		}
		if part && !aside.MatchString(line) && len(out) < reportLines {
			out = append(out, line)
		}
	}
	return out
}

var markLine = regexp.MustCompile(`(?m)^\[ *([0-9]+\.[0-9]+)\] ` + workloadMark)

// markedAt is when the workload began, by the clock of the kernel's log.
func markedAt(console []byte) (float64, bool) {
	m := markLine.FindSubmatch(console)
	if m == nil {
		return 0, false
	}
	seconds, err := strconv.ParseFloat(string(m[1]), 64)
	return seconds, err == nil
}

// lastSample is the last whole line that the workload wrote. A machine that broke may have left half of one.
func lastSample(stdout []byte) (last workloadSample, ok bool) {
	for line := range bytes.Lines(stdout) {
		var s workloadSample
		if bytes.HasSuffix(line, []byte("\n")) && json.Unmarshal(line, &s) == nil {
			last, ok = s, true
		}
	}
	return last, ok
}
