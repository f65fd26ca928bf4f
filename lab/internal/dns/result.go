package dns

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"verdictd/internal/report"
	resolver "verdictd/internal/traffic/dns"
	"verdictd/lab/internal/testbed"
)

const Schema = 2

// Result is the document of `lab dns --json`.
type Result struct {
	Schema      int            `json:"schema"`
	Version     string         `json:"version"`
	Host        report.Host    `json:"host"`
	Placement   string         `json:"placement"`
	Family      string         `json:"family"`
	Analysis    string         `json:"analysis"`
	Notes       []string       `json:"notes"`
	Interrupted bool           `json:"interrupted"`
	Runs        []Row          `json:"runs"`
	Verdict     report.Verdict `json:"verdict"`

	planned int // rows
}

// Row is one row.
type Row struct {
	Guard string `json:"guard"`
	// As is whose way of asking was taken, where it is not the one that the command line says.
	As       string           `json:"as,omitempty"`
	Resolver *resolver.Result `json:"resolver"` // null where the row has failed
	Clashes  uint64           `json:"clashes"`
	// What the gate counted: packets that it held, that went on too early, and that it dropped.
	Held      uint64 `json:"held"`
	Expired   uint64 `json:"expired"`
	Unguarded uint64 `json:"unguarded"`
	Dropped   uint64 `json:"dropped"`
	Tainted   uint64 `json:"tainted"`
	Error     string `json:"error,omitempty"`
}

func (r *Row) takeStress(document []byte) error {
	var res resolver.Result
	err := testbed.Decode("stress", document, &res, "resolutions", "resolved", "failed", "wrong_answers", "retried",
		"resolution_ms.max", "questions_served.aaaa")
	if err != nil {
		return err
	}
	r.Resolver = &res
	return nil
}

func (r *Row) take(counted *report.Run) {
	r.Clashes = counted.Clashes()
	r.Held, r.Expired, r.Unguarded, r.Dropped = counted.Held, counted.Expired, counted.Unguarded, counted.GateDropped()
}

// name is the row in words.
func (r *Row) name() string {
	if r.Guard == noQueue {
		return r.Guard
	}
	if r.As != "" {
		return "guard " + r.Guard + ", as " + r.As
	}
	return "guard " + r.Guard
}

// line is the row in short.
func (r *Row) line() string {
	if r.Error != "" {
		return r.name() + ": error: " + r.Error
	}
	return fmt.Sprintf("%s: %d of %d resolutions had to ask again, the slowest took %.1f ms", r.name(),
		r.Resolver.Retried, r.Resolver.Resolutions, r.Resolver.Time.Max)
}

// judge holds the rows against what they promise. The rows in which nobody waits mean something only because of guard
// drop, in which resolvers do, unless they keep clear of the trouble themselves.
func (r *Result) judge() {
	v := &r.Verdict
	v.Failures = []string{}
	failed := func(run *Row, format string, args ...any) {
		v.Failures = append(v.Failures, run.name()+": "+fmt.Sprintf(format, args...))
	}
	var told []string
	for i := range r.Runs {
		run := &r.Runs[i]
		if run.Error != "" {
			failed(run, "%s", run.Error)
			continue
		}
		res := run.Resolver
		if added := run.Tainted &^ r.Host.Tainted; added != 0 {
			failed(run, "the kernel tainted itself (mask %d)", added)
		}
		if res.WrongAnswers > 0 {
			failed(run, "%d wrong answers", res.WrongAnswers)
		}
		exposed := res.Config.Queries == resolver.Parallel
		if res.Config.Queries == resolver.Separate && res.Retried+res.Failed > 0 {
			failed(run, "%d resolutions had to ask again, %d failed, though each question has a flow of its own",
				res.Retried, res.Failed)
		}
		switch run.Guard {
		case noQueue, report.GuardHold:
			if n := res.Retried + res.Failed; n > 0 {
				failed(run, "%d resolutions had to ask again, %d failed", res.Retried, res.Failed)
			}
			if run.Guard == report.GuardHold && run.Clashes > 0 {
				failed(run, "%d clashes", run.Clashes)
			}
			if n := run.Expired + run.Unguarded; n > 0 {
				failed(run, "%d packets went on before their flow was confirmed", n)
			}
			if run.Guard == report.GuardHold && exposed && run.Held == 0 {
				failed(run, "the guard had nothing to do: no question came while another of its flow was on its way")
			}
		case report.GuardDrop:
			if exposed && res.Retried == 0 {
				failed(run, "nobody had to ask again: nothing was put to the test")
			}
		}
		if run.As == "" && (run.Guard == report.GuardDrop || run.Guard == report.GuardHold) {
			told = append(told, run.line())
		}
	}
	switch {
	case r.Interrupted:
		v.Line = fmt.Sprintf("INTERRUPTED after %d of %d rows", len(r.Runs), r.planned)
	case len(v.Failures) > 0:
		v.Line = "FAILED: " + v.Failures[0]
	default:
		v.OK = true
		v.Line = strings.Join(told, "; ")
	}
}

// WriteText writes the table for people.
func (r *Result) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Linux %s, %d CPUs; queue in %s, %s, analysis %s\n", r.Host.Kernel, r.Host.CPUs, r.Placement,
		r.Family, r.Analysis)
	for i := range r.Runs {
		if res := r.Runs[i].Resolver; res != nil {
			c := &res.Config
			fmt.Fprintf(&b, "%d resolutions, %d at a time, %s client, %s; it asks again after %s\n", c.Resolutions,
				c.Parallel, c.Client, c.Queries, c.AttemptTimeout)
			break
		}
	}
	b.WriteByte('\n')
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tone flow\tagain\tfailed\tp50 ms\tp99 ms\tmax ms\tclashes\tdropped\theld\t")
	for i := range r.Runs {
		run := &r.Runs[i]
		if run.Resolver == nil {
			continue
		}
		d := &run.Resolver.Time
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%.1f\t%.1f\t%.1f\t%d\t%d\t%d\t\n", run.name(), run.Resolver.Served.OneFlow,
			run.Resolver.Retried, run.Resolver.Failed,
			d.P50, d.P99, d.Max, run.Clashes, run.Dropped, run.Held)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write the table: %w", err)
	}
	b.WriteByte('\n')
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "Note: %s\n", note)
	}
	for _, failure := range r.Verdict.Failures {
		fmt.Fprintf(&b, "Failed: %s\n", failure)
	}
	fmt.Fprintf(&b, "%s\n", r.Verdict.Line)
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write the table: %w", err)
	}
	return nil
}
