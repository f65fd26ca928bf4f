package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"verdictd/internal/kernel"
	"verdictd/internal/load"
)

// streams are where results and everything else go.
type streams struct {
	stdout, stderr io.Writer
}

// header is the beginning of every result file of stress. Schema grows when a key changes its meaning or goes
// away; keys may be added without it.
type header struct {
	Schema   int    `json:"schema"`
	Scenario string `json:"scenario"`
	Version  string `json:"version"`
	Host     host   `json:"host"`
}

// host is where the scenario ran.
type host struct {
	Kernel       string `json:"kernel"`
	Architecture string `json:"architecture"`
	CPUs         int    `json:"cpus"`
}

func newHeader(scenario string) (header, error) {
	release, err := kernel.Release()
	if err != nil {
		return header{}, err
	}
	return header{
		Schema: 1, Scenario: scenario, Version: version,
		Host: host{Kernel: release, Architecture: runtime.GOARCH, CPUs: runtime.NumCPU()},
	}, nil
}

// result is where the JSON of a run goes, and whether people get a summary besides.
type result struct {
	json    io.Writer // nil: nowhere
	file    *os.File  // to be closed; nil for standard output
	summary io.Writer // nil: none
}

// openResult opens the file before the run, which would be in vain if it could not be written.
func (s *streams) openResult(path string) (*result, error) {
	switch path {
	case "":
		return &result{summary: s.stdout}, nil
	case "-":
		return &result{json: s.stdout}, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("create result file: %w", err)
	}
	return &result{json: f, file: f, summary: s.stdout}, nil
}

// write writes and closes. The fields of scenario's result follow those of the header.
func (r *result) write(scenario string, res *load.ClashResult, summarize func(io.Writer) error) error {
	var err error
	if r.json != nil {
		err = r.encode(scenario, res)
	}
	if r.summary != nil {
		err = errors.Join(err, summarize(r.summary))
	}
	return errors.Join(err, r.close())
}

func (r *result) encode(scenario string, res *load.ClashResult) error {
	h, err := newHeader(scenario)
	if err != nil {
		return err
	}
	e := json.NewEncoder(r.json)
	e.SetIndent("", "  ")
	err = e.Encode(struct {
		header
		*load.ClashResult
	}{h, res})
	if err != nil {
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
