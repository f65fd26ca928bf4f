package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"verdictd/internal/cli"
	"verdictd/internal/report"
	"verdictd/lab/internal/matrix"
	"verdictd/lab/internal/testbed"
)

// matrixCmd is `lab matrix`.
type matrixCmd struct {
	Only      []string         `help:"Run only the rows with these values, such as placement=output,guard=hold. May be repeated, for more rows. Keys: placement, family, fanout, nat, traffic, guard, program, backend, events. Values that no row of the default matrix has together are run as rows of their own." sep:"none" placeholder:"KEY=VALUE,..."`
	Flows     int              `help:"Flows a run." default:"500"`
	Burst     int              `help:"Packets a flow, sent at once." default:"4"`
	Analysis  testbed.Analysis `help:"What the program takes over a packet: none, or [fixed:|uniform:|lognormal:]DURATION." default:"300us"`
	Queues    int              `help:"Queues, each with a thread on a CPU of its own as far as there are CPUs." default:"2"`
	Threads   int              `help:"Threads that share each burst; 0: as many as the burst has packets, at most one a CPU." default:"0"`
	Reference string           `help:"The C program on libnetfilter_queue for the rows with it. Default: nfq_reference beside the programs; where it is not, the default matrix does without these rows." type:"path" placeholder:"PATH"`
	Bin       string           `help:"Where verdictd, stress and conntrackwatch are. Default: beside this program." type:"path" placeholder:"DIR"`
	JSON      string           `name:"json" help:"Write the report as JSON to FILE; - writes it to stdout, and the table to stderr." placeholder:"FILE"`
	HTML      string           `name:"html" type:"page" help:"Write the report as one self-contained page to FILE." placeholder:"FILE"`
}

// config is what the flags say.
func (m *matrixCmd) config() *matrix.Config {
	return &matrix.Config{
		Only: m.Only, Flows: m.Flows, Burst: m.Burst, Analysis: m.Analysis, Queues: m.Queues, Threads: m.Threads,
		Reference: m.Reference,
	}
}

// Validate is called by kong.
func (m *matrixCmd) Validate() error { return m.config().Validate() }

// Run is called by kong.
func (m *matrixCmd) Run(ctx context.Context, std streams) error {
	t, outside, err := std.prepare(ctx, m.Bin, m.JSON, m.HTML)
	if outside || err != nil {
		return err
	}
	rep, err := matrix.Run(ctx, t, m.config(), std.err)
	if err != nil {
		return err
	}
	if err := errors.Join(
		std.write(m.JSON, func(w io.Writer) error { return report.WriteText(w, rep) }, rep),
		writePage(m.HTML, func(w io.Writer) error { return report.WriteHTML(w, rep) }),
	); err != nil {
		return err
	}
	if rep.Interrupted {
		fmt.Fprintf(std.err, "lab: interrupted after %d of %d runs%s\n", len(rep.Runs), rep.Planned, written(m.JSON, m.HTML))
	}
	if !rep.Verdict.OK {
		return cli.ErrReported
	}
	return nil
}
