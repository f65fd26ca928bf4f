package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"verdictd/internal/cli"
	"verdictd/internal/netlab"
	"verdictd/internal/report"
	"verdictd/lab/internal/testbed"
)

// streams is where results and remarks go.
type streams struct {
	out, err io.Writer
}

// begin is what every measurement begins with: the programs, the right to make namespaces, and whether the result can
// be written to its files. Where this process may not make namespaces, the lab runs once more as root of a user
// namespace: outside is then true, and there is nothing left to do.
func (std streams) begin(ctx context.Context, bin string, files ...string) (p testbed.Programs, outside bool,
	err error) {
	if p, err = testbed.FindPrograms(bin); err != nil {
		return p, false, err
	}
	if outside, err := netlab.Ensure(ctx, "lab", std.out, std.err); outside {
		return p, true, err
	}
	return p, false, canWrite(files...)
}

// prepare begins, and looks at the machine. Outside is that of begin.
func (std streams) prepare(ctx context.Context, bin string, files ...string) (t *testbed.Testbed, outside bool,
	err error) {
	p, outside, err := std.begin(ctx, bin, files...)
	if outside || err != nil {
		return nil, outside, err
	}
	t, err = testbed.New(ctx, p, version)
	return t, false, err
}

// canWrite finds out before the minutes of measuring whether the reports can be written after them.
func canWrite(files ...string) error {
	for _, path := range files {
		if path == "" || path == "-" {
			continue
		}
		if err := cli.CanWrite(path); err != nil {
			return fmt.Errorf("the report could not be written later to %s: %w", path, err)
		}
	}
	return nil
}

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

// A document is a result that is also what --json writes.
type document interface {
	WriteText(w io.Writer) error
}

// conclude writes a document, and fails where not all is as it should be. Pages are written already.
func (std streams) conclude(ctx context.Context, path string, d document, ok bool, pages ...string) error {
	if err := std.write(path, d.WriteText, d); err != nil {
		return err
	}
	if where := written(append([]string{path}, pages...)...); ctx.Err() != nil && where != "" {
		fmt.Fprintf(std.err, "lab: interrupted%s\n", where)
	}
	if !ok {
		return cli.ErrReported
	}
	return nil
}

// written says which files have what was measured up to an interruption; "": none.
func written(files ...string) string {
	files = slices.DeleteFunc(files, func(path string) bool { return path == "" || path == "-" })
	if len(files) == 0 {
		return ""
	}
	return "; what was measured by then is in " + strings.Join(files, " and ")
}

func (std streams) writeDocument(path string, document any) error {
	b, err := report.Encode(document)
	switch {
	case err != nil:
	case path == "-":
		_, err = std.out.Write(b)
	default:
		err = cli.WriteFile(path, b)
	}
	if err != nil {
		return fmt.Errorf("write the JSON result: %w", err)
	}
	return nil
}

// writePage writes a page to a file, where one is wanted.
func writePage(path string, write func(io.Writer) error) error {
	if path == "" {
		return nil
	}
	var page bytes.Buffer
	if err := write(&page); err != nil {
		return err
	}
	if err := cli.WriteFile(path, page.Bytes()); err != nil {
		return fmt.Errorf("write the HTML report: %w", err)
	}
	return nil
}
