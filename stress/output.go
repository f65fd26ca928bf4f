package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"

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

// write writes and closes. res is what the scenario saw, a pointer to a struct: its fields follow those of the header.
func (r *result) write(scenario string, res any, summarize func(io.Writer) error) error {
	var err error
	if r.json != nil {
		err = r.encode(scenario, res)
	}
	if r.summary != nil {
		err = errors.Join(err, summarize(r.summary))
	}
	return errors.Join(err, r.close())
}

func (r *result) encode(scenario string, res any) error {
	h, err := newHeader(scenario)
	if err != nil {
		return err
	}
	document, err := flatten(h, res)
	if err == nil {
		_, err = r.json.Write(document)
	}
	if err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

// flatten is one JSON object of the fields of both, in their order.
func flatten(h header, res any) ([]byte, error) {
	first, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	second, err := json.Marshal(res)
	if err != nil {
		return nil, err
	}
	if len(second) < 2 || second[0] != '{' {
		return nil, fmt.Errorf("a %T is no object in JSON", res)
	}
	joined := slices.Concat(first[:len(first)-1], []byte{','}, second[1:])
	if string(second) == "{}" {
		joined = first
	}
	var out bytes.Buffer
	if err := json.Indent(&out, joined, "", "  "); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
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
