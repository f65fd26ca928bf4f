package record

import (
	"errors"
	"fmt"
	"io"
	"time"

	"verdictd/internal/crash"
	"verdictd/internal/results"
	"verdictd/internal/traffic"
)

// Config is where the result of a run goes, and everything else that it has to say.
type Config struct {
	// Scenario, Version and Command are the beginning of the result: see [results.Header].
	Scenario, Version string
	Command           []string
	// Path is that of the result file; "-" is Stdout, which then gets no summary; "" is none.
	Path           string
	Stdout, Stderr io.Writer
	// KernelLog is a file in the place of the kernel log; "" for the log itself.
	KernelLog string
}

// Record is where the JSON of a run goes, and whether people get a summary besides. It watches the kernel while it is
// open.
type Record struct {
	watch   *watch
	header  *results.Header // nil where there is no JSON
	json    io.Writer       // nil: nowhere, or a file
	file    *file           // nil: none
	written bool            // the file has the whole result
	summary io.Writer       // nil: none
}

// Open opens the file before the run, which would be in vain if it could not be written, reads what the run
// starts from, and begins to watch the kernel. The places are the namespaces that the caller named. What it returns is
// to be written or closed.
func (c Config) Open(places ...results.Place) (r *Record, err error) {
	r = &Record{}
	if c.Path != "-" {
		r.summary = c.Stdout
	}
	if c.Path != "" {
		if r.header, err = results.Read("stress", c.Scenario, c.Version, c.Command, places...); err != nil {
			return nil, err
		}
		r.header.Incomplete = true
	}
	switch c.Path {
	case "":
	case "-":
		r.json = c.Stdout
	default:
		if r.file, err = openFile(c.Path); err != nil {
			return nil, err
		}
	}
	if r.watch, err = startWatch(r, c.KernelLog, c.Stderr); err != nil {
		return nil, err
	}
	return r, nil
}

// Flush writes what was measured up to now to the file, if there is one, so that a crash of the machine leaves it. A
// scenario calls it before each step that may bring one. res is as for Write, and is not kept.
func (r *Record) Flush(res any) error { return r.watch.flush(res) }

// Keep has what a run tells of its progress written to the file as well, now and then, for the case that the machine
// does not see its end. What show is told of it stays the same.
func (r *Record) Keep(config any, show func(traffic.Progress)) func(traffic.Progress) {
	if r.file == nil {
		return show
	}
	var last time.Time
	return func(p traffic.Progress) {
		show(p)
		if time.Since(last) < watchInterval {
			return
		}
		last = time.Now()
		// Where the file cannot be written, the run's end says so.
		_ = r.Flush(&struct {
			Config any    `json:"config"`
			Flows  uint64 `json:"flows"`
			Sent   uint64 `json:"sent,omitempty"`
			traffic.Counts
		}{config, p.Flows, p.Sent, p.Counts})
	}
}

// Write writes and closes. res is what the scenario saw, a pointer to a struct: its fields follow those of the header.
// The error tells of a kernel that broke meanwhile as well.
func (r *Record) Write(scenario string, res any, summarize func(io.Writer) error) error {
	found, err := r.watch.end()
	if r.header != nil {
		r.header.Scenario, r.header.Incomplete = scenario, false
		err = errors.Join(err, r.encode(found, res))
	}
	if r.summary != nil {
		err = errors.Join(err, summarize(r.summary), summarizeKernel(r.summary, found))
	}
	if r.summary != nil && r.written {
		fmt.Fprintf(r.summary, "result      in %s\n", r.file.path)
	}
	return err
}

func (r *Record) encode(found *crash.Findings, res any) error {
	document, err := results.Document(r.header, found, res)
	if err != nil {
		return err
	}
	if r.file != nil {
		err := r.file.replace(document)
		r.written = err == nil
		return err
	}
	if _, err := r.json.Write(document); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

// Close is for a run that has no result. The file stays as incomplete as it is.
func (r *Record) Close() error {
	_, err := r.watch.end()
	return err
}
