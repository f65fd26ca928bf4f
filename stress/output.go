package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"verdictd/internal/load"
	"verdictd/internal/provenance"
)

// streams are where results and everything else go.
type streams struct {
	stdout, stderr io.Writer
}

// result is where the JSON of a run goes, and whether people get a summary besides.
type result struct {
	header  *provenance.Header // nil where there is no JSON
	json    io.Writer          // nil: nowhere
	file    *os.File           // to be closed; nil for standard output
	summary io.Writer          // nil: none
}

// openResult opens the file before the run, which would be in vain if it could not be written, and reads what the run
// starts from. The places are the namespaces that the caller named.
func (s *streams) openResult(path string, places ...provenance.Place) (*result, error) {
	if path == "" {
		return &result{summary: s.stdout}, nil
	}
	h, err := provenance.Read("stress", "", version, os.Args, places...)
	if err != nil {
		return nil, err
	}
	if path == "-" {
		return &result{header: h, json: s.stdout}, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("create result file: %w", err)
	}
	return &result{header: h, json: f, file: f, summary: s.stdout}, nil
}

// write writes and closes. res is what the scenario saw, a pointer to a struct: its fields follow those of the header.
func (r *result) write(scenario string, res any, summarize func(io.Writer) error) error {
	var err error
	if r.json != nil {
		r.header.Scenario = scenario
		err = r.encode(res)
	}
	if r.summary != nil {
		err = errors.Join(err, summarize(r.summary))
	}
	return errors.Join(err, r.close())
}

func (r *result) encode(res any) error {
	document, err := provenance.Document(r.header, res)
	if err != nil {
		return err
	}
	if _, err := r.json.Write(document); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

func (r *result) close() error {
	if r.file == nil {
		return nil
	}
	if err := r.file.Close(); err != nil {
		return fmt.Errorf("write result file: %w", err)
	}
	return nil
}

// progress returns what shows a run's progress in one line of a terminal, and what takes that line away. Where
// stderr is no terminal both do nothing.
func (s *streams) progress(flows int) (show func(load.Progress), done func()) {
	f, ok := s.stderr.(*os.File)
	if ok {
		_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		ok = err == nil
	}
	if !ok {
		return nil, func() {}
	}
	const clearLine = "\r\x1b[K"
	return func(p load.Progress) {
			fmt.Fprintf(f, clearLine+"%d of %d flows, %d packets delivered", p.Flows, flows, p.Counts.Delivered)
		}, func() {
			fmt.Fprint(f, clearLine)
		}
}
