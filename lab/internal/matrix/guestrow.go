package matrix

import (
	"context"
	"path/filepath"

	"verdictd/internal/netlab"
	"verdictd/internal/report"
	"verdictd/lab/internal/testbed"
)

// A GuestRow is one row in a virtual machine, which may be emulated on a busy host: one thread sends a burst in one
// system call, as threads would spend their time in waiting for each other, and every wait may be long.
type GuestRow struct {
	Placement, Fanout, Guard, Program, Events string
	Flows, Burst                              int

	// Sending is called before stress starts, and what it returns after that ended.
	Sending func(*netlab.Topology) func()
}

// Run runs it. What fails in the row is in its result.
func (g *GuestRow) Run(ctx context.Context, p testbed.Programs) (report.Run, error) {
	r := plain.with(map[int]string{placement: g.Placement, fanout: g.Fanout, guard: g.Guard, program: g.Program,
		events: g.Events})
	if err := r.settle(false); err != nil {
		return report.Run{}, err
	}
	cpus, err := testbed.AllowedCPUs()
	if err != nil {
		return report.Run{}, err
	}
	config := &Config{Flows: g.Flows, Burst: g.Burst, Analysis: testbed.Analysis{Distribution: report.AnalysisNone},
		Queues: 2, Threads: 1}
	e := experiment{config: config, Programs: p, row: r, cpus: cpus, machine: true, sending: g.Sending, run: r.run()}
	err = testbed.WithFiles(func(dir string) {
		e.dir = filepath.Join(dir, "row")
		if err := e.do(ctx); err != nil {
			e.run.Error = err.Error()
		}
	})
	return e.run, err
}
