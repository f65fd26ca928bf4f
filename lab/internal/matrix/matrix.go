package matrix

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"verdictd/internal/cli"
	"verdictd/internal/netlab"
	"verdictd/internal/report"
	"verdictd/lab/internal/testbed"
)

// Config says which rows run, and what all of them share.
type Config struct {
	// Only are filters such as "placement=output,guard=hold": a row that matches one of them runs. Without any, all
	// rows of the default matrix do.
	Only     []string
	Flows    int              // of each row
	Burst    int              // packets of a flow, sent at once
	Analysis testbed.Analysis // what the program takes over a packet
	Queues   int
	Threads  int // that share a burst; 0: as many as it has packets, at most one a CPU
	// Reference is the C program, "" for the one beside the programs.
	Reference string
}

// Validate says all that is wrong.
func (m *Config) Validate() error {
	var errs []error
	if _, err := m.rows(true); err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, testbed.Within("--flows", m.Flows, 1, testbed.MaxFlows),
		testbed.Within("--burst", m.Burst, 1, testbed.MaxBurst),
		testbed.Within("--queues", m.Queues, 1, testbed.MaxQueues), testbed.Within("--threads", m.Threads, 0, m.Burst))
	return errors.Join(errs...)
}

// senders is how many threads share a burst.
func (m *Config) senders() int {
	if m.Threads == 0 {
		return min(m.Burst, runtime.NumCPU())
	}
	return m.Threads
}

// rows is what --only leaves of the default matrix. Ports says that the kernel can hash ports.
func (m *Config) rows(ports bool) ([]row, error) {
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

// withoutLibrary leaves out the rows with the C program where it is missing, and says why, unless they were asked for
// by name.
func (m *Config) withoutLibrary(rows []row, p testbed.Programs) (rest []row, why, err error) {
	needs := func(r row) bool { return r[program] == report.ProgramLibrary }
	if !slices.ContainsFunc(rows, needs) {
		return rows, nil, nil
	}
	named := m.Reference != "" || slices.ContainsFunc(m.Only,
		func(s string) bool { return strings.Contains(s, "program="+report.ProgramLibrary) })
	path, why := p.FindReference(m.Reference)
	switch {
	case why == nil:
		m.Reference = path
		return rows, nil, nil
	case named:
		return nil, nil, why
	}
	return slices.DeleteFunc(slices.Clone(rows), needs), why, nil
}

// Run runs the rows that are chosen, one after the other, with its progress on w.
func Run(ctx context.Context, t *testbed.Testbed, c *Config, w io.Writer) (*report.Report, error) {
	settled := *c
	settled.Threads = c.senders()
	ports, err := hashesPorts()
	if err != nil {
		return nil, fmt.Errorf("find out which fan-outs there are: %w", err)
	}
	rows, err := settled.rows(ports)
	if err != nil {
		return nil, err
	}
	rows, without, err := settled.withoutLibrary(rows, t.Programs)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(rows, func(r row) bool { return r[program] == report.ProgramSuricata }) {
		if _, err := testbed.FindSuricata(); err != nil {
			return nil, err
		}
	}
	rep, err := settled.measure(ctx, t, rows, w)
	if err == nil && without != nil {
		rep.Notes = append(rep.Notes, fmt.Sprintf("No rows with program %s: %v.", report.ProgramLibrary, without))
	}
	return rep, err
}

// measure does one run after the other. A run that fails says so in its row, and the next one follows.
func (m *Config) measure(ctx context.Context, t *testbed.Testbed, rows []row, w io.Writer) (*report.Report, error) {
	rep := &report.Report{
		Schema:  report.Schema,
		Version: t.Version,
		Host:    t.Host,
		Settings: report.Settings{
			Flows: m.Flows, Burst: m.Burst, Threads: m.Threads, Queues: m.Queues,
			Outstanding: testbed.Outstanding, Sources: netlab.SourceCount, Analysis: m.Analysis.String(),
		},
		Started: time.Now(),
		Command: os.Args,
		Planned: len(rows),
		Notes:   notes(t.Host.Kernel, rows),
		Runs:    []report.Run{},
	}
	shown := cli.NewProgress(w)
	defer shown.End()
	err := testbed.WithFiles(func(dir string) {
		for i, r := range rows {
			if ctx.Err() != nil {
				break
			}
			e := experiment{config: m, Programs: t.Programs, row: r, dir: filepath.Join(dir, strconv.Itoa(i)),
				cpus: t.CPUs, run: r.run()}
			shown.Step(i+1, len(rows), "%s", e.run.Name())
			if err := e.do(ctx); err != nil {
				if ctx.Err() != nil {
					break // the interruption, and not the run, is what failed
				}
				e.run.Error = err.Error()
			}
			rep.Runs = append(rep.Runs, e.run)
			sayRow(shown, &e.run)
		}
	})
	shown.End()
	rep.Seconds = time.Since(rep.Started).Seconds()
	rep.Interrupted = ctx.Err() != nil
	rep.Verdict = report.Judge(rep)
	return rep, err
}

// sayRow says what came of a row, in the figures of the table; a terminal shows those at the end.
func sayRow(p *cli.Progress, run *report.Run) {
	switch {
	case run.Error != "":
		p.Say("%s: error: %s", run.Name(), run.Error)
	case !p.Terminal:
		p.Say("%s: %.1f clashes per 1,000 packets, %d of %d packets lost", run.Name(), run.ClashesPer1000, run.Lost, run.Sent)
	}
}
