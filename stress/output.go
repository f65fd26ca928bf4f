package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"verdictd/internal/cli"
	"verdictd/internal/crash"
	"verdictd/internal/provenance"
	"verdictd/internal/traffic"
)

// streams are where results and everything else go, and where the kernel's reports come from.
type streams struct {
	stdout, stderr io.Writer
	scenario       string // that runs
	kernelLog      string // a file in the place of the kernel log; "" for the log itself
}

// result is where the JSON of a run goes, and whether people get a summary besides. It watches the kernel while it is
// open.
type result struct {
	watch   *kernelWatch
	header  *provenance.Header // nil where there is no JSON
	json    io.Writer          // nil: nowhere, or a file
	file    *resultFile        // nil: none
	summary io.Writer          // nil: none
}

// openResult opens the file before the run, which would be in vain if it could not be written, reads what the run
// starts from, and begins to watch the kernel. The places are the namespaces that the caller named. What it returns is
// to be written or closed.
func (s *streams) openResult(path string, places ...provenance.Place) (r *result, err error) {
	r = &result{}
	if path != "-" {
		r.summary = s.stdout
	}
	if path != "" {
		if r.header, err = provenance.Read("stress", s.scenario, version, os.Args, places...); err != nil {
			return nil, err
		}
		r.header.Incomplete = true
	}
	switch path {
	case "":
	case "-":
		r.json = s.stdout
	default:
		if r.file, err = openResultFile(path); err != nil {
			return nil, err
		}
	}
	if r.watch, err = s.watchKernel(r); err != nil {
		return nil, errors.Join(err, r.file.close())
	}
	return r, nil
}

// flush writes what was measured up to now to the file, if there is one, so that a crash of the machine leaves it. A
// scenario calls it before each step that may bring one. res is as for write, and is not kept.
func (r *result) flush(res any) error { return r.watch.flush(res) }

// keep has what a run tells of its progress written to the file as well, now and then, for the case that the machine
// does not see its end. What show is told of it stays the same.
func (r *result) keep(config any, show func(traffic.Progress)) func(traffic.Progress) {
	if r.file == nil {
		return show
	}
	var last time.Time
	return func(p traffic.Progress) {
		if show != nil {
			show(p)
		}
		if time.Since(last) < watchInterval {
			return
		}
		last = time.Now()
		// Where the file cannot be written, the run's end says so.
		_ = r.flush(&struct {
			Config any    `json:"config"`
			Flows  uint64 `json:"flows"`
			Sent   uint64 `json:"sent,omitempty"`
			traffic.Counts
		}{config, p.Flows, p.Sent, p.Counts})
	}
}

// write writes and closes. res is what the scenario saw, a pointer to a struct: its fields follow those of the header.
// The error tells of a kernel that broke meanwhile as well.
func (r *result) write(scenario string, res any, summarize func(io.Writer) error) error {
	found, err := r.watch.end()
	if r.header != nil {
		r.header.Scenario, r.header.Incomplete = scenario, false
		err = errors.Join(err, r.encode(found, res))
	}
	if r.summary != nil {
		err = errors.Join(err, summarize(r.summary), summarizeKernel(r.summary, found))
	}
	return errors.Join(err, r.file.close())
}

func (r *result) encode(found *crash.Findings, res any) error {
	document, err := provenance.Document(r.header, found, res)
	if err != nil {
		return err
	}
	if r.file != nil {
		return r.file.replace(document)
	}
	if _, err := r.json.Write(document); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

// close is for a run that has no result. The file stays as incomplete as it is.
func (r *result) close() error {
	_, err := r.watch.end()
	return errors.Join(err, r.file.close())
}

// progress returns what shows a run's progress in one line of a terminal, and what takes that line away. Where
// stderr is no terminal both do nothing.
func (s *streams) progress(line func(traffic.Progress) string) (show func(traffic.Progress), done func()) {
	if !cli.IsTerminal(s.stderr) {
		return nil, func() {}
	}
	const clearLine = "\r\x1b[K"
	return func(p traffic.Progress) { fmt.Fprint(s.stderr, clearLine+line(p)) },
		func() { fmt.Fprint(s.stderr, clearLine) }
}

// flowsOf is such a line for a run of so many flows.
func flowsOf(flows int) func(traffic.Progress) string {
	return func(p traffic.Progress) string {
		return fmt.Sprintf("%d of %d flows, %d packets delivered", p.Flows, flows, p.Counts.Delivered)
	}
}
