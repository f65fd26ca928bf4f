package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"verdictd/internal/cli"
	"verdictd/internal/netlab"
	"verdictd/internal/report"
)

// matrixCmd is `lab matrix`.
type matrixCmd struct {
	Only      []string `help:"Run only the rows with these values, such as placement=output,guard=hold. May be repeated, for more rows. Keys: placement, family, fanout, nat, traffic, guard, program, backend, events. Values that no row of the default matrix has together are run as rows of their own." sep:"none" placeholder:"KEY=VALUE,..."`
	Flows     int      `help:"Flows a run." default:"500"`
	Burst     int      `help:"Packets a flow, sent at once." default:"4"`
	Analysis  analysis `help:"What the program takes over a packet: none, or [fixed:|uniform:|lognormal:]DURATION." default:"300us"`
	Queues    int      `help:"Queues, each with a thread on a CPU of its own as far as there are CPUs." default:"2"`
	Threads   int      `help:"Threads that share each burst; 0: as many as the burst has packets, at most one a CPU." default:"0"`
	Reference string   `help:"The C program on libnetfilter_queue for the rows with it. Default: nfq_reference beside the programs; where it is not, the default matrix does without these rows." type:"path" placeholder:"PATH"`
	Bin       string   `help:"Where verdictd, stress and conntrackwatch are. Default: beside this program." type:"path" placeholder:"DIR"`
	JSON      string   `name:"json" help:"Write the report as JSON to FILE; - writes it to stdout, and the table to stderr." placeholder:"FILE"`
	HTML      string   `name:"html" help:"Write the report as one self-contained page to FILE." placeholder:"FILE"`
}

// Bounds on what can be asked for: the kernel numbers queues in 16 bits, and a burst has to fit into one.
const (
	maxQueues = 1024
	maxBurst  = 256
	maxFlows  = 1_000_000 // what the source addresses have ports for
)

// Validate is called by kong.
func (m *matrixCmd) Validate() error {
	var errs []error
	if _, err := m.rows(true); err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, within("--flows", m.Flows, 1, maxFlows), within("--burst", m.Burst, 1, maxBurst),
		within("--queues", m.Queues, 1, maxQueues), within("--threads", m.Threads, 0, m.Burst))
	return errors.Join(errs...)
}

// AfterApply is called by kong when the flags are valid.
func (m *matrixCmd) AfterApply() error {
	if m.Threads == 0 {
		m.Threads = min(m.Burst, runtime.NumCPU())
	}
	return nil
}

// Run is called by kong.
func (m *matrixCmd) Run(ctx context.Context, std streams) error {
	t, outside, err := std.prepare(ctx, m.Bin, m.JSON, m.HTML)
	if outside || err != nil {
		return err
	}
	ports, err := hashesPorts()
	if err != nil {
		return fmt.Errorf("find out which fan-outs there are: %w", err)
	}
	rows, err := m.rows(ports)
	if err != nil {
		return err
	}
	rows, without, err := m.withoutLibrary(rows, &t)
	if err != nil {
		return err
	}
	rep, err := m.measure(ctx, &t, rows, std.err)
	if err != nil {
		return err
	}
	if without != nil {
		rep.Notes = append(rep.Notes, fmt.Sprintf("No rows with program %s: %v.", report.ProgramLibrary, without))
	}
	if err := m.write(rep, std); err != nil {
		return err
	}
	if ctx.Err() != nil {
		fmt.Fprintf(std.err, "lab: interrupted after %d of %d runs; the results so far were written\n", len(rep.Runs), rep.Planned)
	}
	if !rep.Verdict.OK {
		return cli.ErrReported
	}
	return nil
}

// rows is what --only leaves of the default matrix. Ports says that the kernel can hash ports.
func (m *matrixCmd) rows(ports bool) ([]row, error) {
	var filters []filter
	var errs []error
	for _, s := range m.Only {
		f, err := parseFilter(s)
		filters, errs = append(filters, f), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return choose(defaultRows(ports), filters)
}

// withoutLibrary leaves out the rows with the C program where it is missing, and says why, unless they were asked for by name.
func (m *matrixCmd) withoutLibrary(rows []row, t *testbed) (rest []row, why, err error) {
	needs := func(r row) bool { return r[program] == report.ProgramLibrary }
	if !slices.ContainsFunc(rows, needs) {
		return rows, nil, nil
	}
	named := m.Reference != "" || slices.ContainsFunc(m.Only, func(s string) bool { return strings.Contains(s, "program="+report.ProgramLibrary) })
	path, why := t.findReference(m.Reference)
	switch {
	case why == nil:
		m.Reference = path
		return rows, nil, nil
	case named:
		return nil, nil, why
	}
	return slices.DeleteFunc(slices.Clone(rows), needs), why, nil
}

// measure does one run after the other. A run that fails says so in its row, and the next one follows.
func (m *matrixCmd) measure(ctx context.Context, t *testbed, rows []row, progressTo io.Writer) (*report.Report, error) {
	rep := &report.Report{
		Schema:  report.Schema,
		Version: version,
		Host:    t.host,
		Settings: report.Settings{
			Flows: m.Flows, Burst: m.Burst, Threads: m.Threads, Queues: m.Queues,
			Outstanding: outstanding, Sources: netlab.SourceCount, Analysis: m.Analysis.String(),
		},
		Started: time.Now(),
		Planned: len(rows),
		Notes:   notes(t.host.Kernel, rows),
		Runs:    []report.Run{},
	}
	progress := newProgress(progressTo, len(rows))
	err := withFiles(func(dir string) {
		for i, r := range rows {
			if ctx.Err() != nil {
				break
			}
			e := experiment{matrixCmd: m, programs: t.programs, row: r, dir: filepath.Join(dir, strconv.Itoa(i)), cpus: t.cpus, run: r.run()}
			progress.starts(i+1, &e.run)
			if err := e.do(ctx); err != nil {
				if ctx.Err() != nil {
					break // the interruption, and not the run, is what failed
				}
				e.run.Error = err.Error()
			}
			rep.Runs = append(rep.Runs, e.run)
			progress.ended(i+1, &e.run)
		}
	})
	progress.clear()
	rep.Seconds = time.Since(rep.Started).Seconds()
	rep.Interrupted = ctx.Err() != nil
	rep.Verdict = report.Judge(rep)
	return rep, err
}

// write gives the report to those who want it: the table to people, JSON and HTML to files.
func (m *matrixCmd) write(rep *report.Report, std streams) error {
	err := std.write(m.JSON, func(w io.Writer) error { return report.WriteText(w, rep) }, rep)
	if m.HTML != "" {
		err = errors.Join(err, writePage(m.HTML, func(w io.Writer) error { return report.WriteHTML(w, rep) }))
	}
	return err
}
