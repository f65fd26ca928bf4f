package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/google/renameio/v2"

	"verdictd/internal/cli"
)

// write gives a result to those who want it: text to people, and JSON to a file, or to stdout ("-"): the text then
// goes to stderr.
func (std streams) write(path string, text func(io.Writer) error, document any) error {
	people := std.out
	if path == "-" {
		people = std.err
	}
	err := text(people)
	if path == "" {
		return err
	}
	return errors.Join(err, std.writeDocument(path, document))
}

// conclude writes a result, which is its own JSON document, and fails where its verdict is not OK.
func (std streams) conclude(path string, result interface{ writeText(w io.Writer) error }, ok bool) error {
	if err := std.write(path, result.writeText, result); err != nil {
		return err
	}
	if !ok {
		return cli.ErrReported
	}
	return nil
}

// encode is a document as the lab writes it.
func encode(document any) ([]byte, error) {
	b, err := json.MarshalIndent(document, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode the result: %w", err)
	}
	return append(b, '\n'), nil
}

func (std streams) writeDocument(path string, document any) error {
	b, err := encode(document)
	switch {
	case err != nil:
	case path == "-":
		_, err = std.out.Write(b)
	default:
		err = writeFile(path, b)
	}
	if err != nil {
		return fmt.Errorf("write the JSON result: %w", err)
	}
	return nil
}

// writePage writes a page to a file.
func writePage(path string, write func(io.Writer) error) error {
	var page bytes.Buffer
	if err := write(&page); err != nil {
		return err
	}
	if err := writeFile(path, page.Bytes()); err != nil {
		return fmt.Errorf("write the HTML report: %w", err)
	}
	return nil
}

// writeFile writes beside a file and renames, so that whoever reads it meets a whole document, the old one or the new one.
// What is no file, such as /dev/null or a pipe, is written to as it is.
func writeFile(path string, b []byte) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return os.WriteFile(path, b, 0o644)
	}
	return renameio.WriteFile(path, b, 0o644)
}
