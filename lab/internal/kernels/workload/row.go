package workload

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"verdictd/internal/crash"
	"verdictd/internal/report"
	"verdictd/lab/internal/vm"
)

// reportLines bounds the report in a row.
const reportLines = 48

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
			row.Error = fmt.Sprintf("the workload failed with exit status %d: %s", result.ExitStatus,
				bytes.TrimSpace(result.Stderr))
		}
		return nil
	}
	var done Result
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

var markLine = regexp.MustCompile(`(?m)^\[ *([0-9]+\.[0-9]+)\] ` + mark)

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
func lastSample(stdout []byte) (last sample, ok bool) {
	for line := range bytes.Lines(stdout) {
		var s sample
		if bytes.HasSuffix(line, []byte("\n")) && json.Unmarshal(line, &s) == nil {
			last, ok = s, true
		}
	}
	return last, ok
}
