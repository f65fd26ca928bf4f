package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"

	"verdictd/internal/ct"
)

type statsCmd struct {
	window
	All bool `help:"Give CPUs that counted nothing a row in the table, too. JSON always has them."`
}

// statsResult is what stats prints.
type statsResult struct {
	Schema  int         `json:"schema"`
	Version string      `json:"version"`
	Seconds float64     `json:"seconds"`
	Table   ct.Table    `json:"table"`
	CPUs    []ct.CPU    `json:"cpus"`
	Total   ct.Counters `json:"total"`

	all bool // CPUs that counted nothing are in the table
}

// Run is called by kong.
func (s *statsCmd) Run(ctx context.Context, out output) (err error) {
	ctx, cancel := s.context(ctx)
	defer cancel()
	conn, err := ct.Dial()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()

	before, err := conn.Snapshot()
	if err != nil {
		return err
	}
	if err := ready(); err != nil {
		return err
	}
	<-ctx.Done()
	after, err := conn.Snapshot()
	if err != nil {
		return err
	}

	delta := after.Since(before)
	return s.print(out, statsResult{
		Schema:  1,
		Version: version,
		Seconds: after.Time.Sub(before.Time).Seconds(),
		Table:   delta.Table,
		CPUs:    delta.CPUs,
		Total:   delta.Total(),
		all:     s.All,
	})
}

func (r statsResult) writeText(w io.Writer) error {
	var columns []ct.Counter
	absent := false
	for _, c := range ct.AllCounters() {
		sent := r.Total[c].Sent
		if sent || !c.Gone() {
			columns = append(columns, c)
			absent = absent || !sent
		}
	}

	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	row(t, "cpu", columns, ct.Counter.String)
	for _, cpu := range r.CPUs {
		if cpu.Zero() && !r.all {
			continue
		}
		row(t, strconv.Itoa(cpu.CPU), columns, func(c ct.Counter) string { return cpu.Counters[c].String() })
	}
	row(t, "total", columns, func(c ct.Counter) string { return r.Total[c].String() })
	if err := t.Flush(); err != nil {
		return err
	}
	if absent {
		if _, err := fmt.Fprintln(w, "-: not sent by this kernel (clash_resolve: since 5.10, chain_toolong: since 5.15)"); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "in %.1f s; the table holds %v of at most %v entries\n",
		r.Seconds, r.Table.Entries, r.Table.MaxEntries)
	return err
}

// row writes the first cell and one for each column. Each ends in a tab: tabwriter aligns terminated cells only.
// Errors stay with the tabwriter, whose Flush returns them.
func row(t *tabwriter.Writer, first string, columns []ct.Counter, cell func(ct.Counter) string) {
	fmt.Fprint(t, first, "\t")
	for _, c := range columns {
		fmt.Fprint(t, cell(c), "\t")
	}
	fmt.Fprintln(t)
}
