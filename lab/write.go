package main

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// write gives a result to those who want it: text to people, and JSON to a file, or to stdout ("-"), whence the text then
// moves to stderr.
func (std streams) write(json string, text func(io.Writer) error, document func() ([]byte, error)) error {
	people := std.out
	if json == "-" {
		people = std.err
	}
	err := text(people)
	if json == "" {
		return err
	}
	return errors.Join(err, std.writeDocument(json, document))
}

func (std streams) writeDocument(path string, document func() ([]byte, error)) error {
	b, err := document()
	switch {
	case err != nil:
	case path == "-":
		_, err = std.out.Write(b)
	default:
		err = os.WriteFile(path, b, 0o644)
	}
	if err != nil {
		return fmt.Errorf("write the JSON result: %w", err)
	}
	return nil
}

// writePage writes a page to a file.
func writePage(path string, write func(io.Writer) error) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write the HTML report: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return write(f)
}
