package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"verdictd/internal/ct"
	"verdictd/internal/kernel"
)

type statsCmd struct {
	window
	Interval time.Duration `help:"Print a sample every so long, e.g. 1s: what the counters rose by since the last one. With --json one object a line." placeholder:"D"`
	Once     bool          `help:"Print what was counted since the namespace was made, and end."`
	PerCPU   bool          `name:"per-cpu" help:"Give every CPU that counted something rows of its own. JSON always has them."`
	All      bool          `help:"Give CPUs that counted nothing rows, too; implies --per-cpu."`
}

// Help is called by kong.
func (s *statsCmd) Help() string {
	return "Reads the kernel's per-CPU counters and says beside each what it counts on the running kernel. It never subscribes to events: where" +
		" nf_conntrack_events is 2, the default since Linux 5.19, the kernel attaches events to entries only while somebody listens, and on a" +
		" kernel without the fix of CVE-2022-49561 delivering them after a clash is what crashes. A listener takes part in the exposure; stats does not."
}

// Validate is called by kong.
func (s *statsCmd) Validate() error {
	switch {
	case s.Interval < 0:
		return fmt.Errorf("--interval %v is negative: leave it out for one result at the end", s.Interval)
	case s.Once && (s.Interval > 0 || s.Duration > 0):
		return errors.New("--once ends at once: leave out --interval and --duration")
	}
	s.PerCPU = s.PerCPU || s.All
	return s.window.Validate()
}

// statsResult is one sample of the counters.
type statsResult struct {
	Schema  int       `json:"schema"`
	Version string    `json:"version"`
	Kernel  string    `json:"kernel"`
	Time    time.Time `json:"time"`
	// Seconds is how long Total and CPUs took to rise: since the command's start. With --once they are Absolute.
	Seconds   float64     `json:"seconds"`
	Table     ct.Table    `json:"table"`
	CPUs      []ct.CPU    `json:"cpus"`
	Total     ct.Counters `json:"total"`
	PerSecond ct.Rates    `json:"per_second"`
	// Absolute is what was counted since the namespace was made.
	Absolute ct.Counters       `json:"absolute"`
	Last     *statsStep        `json:"last"` // since the sample before; null without --interval
	Meaning  map[string]string `json:"meaning"`

	cmd *statsCmd
}

// statsStep is what the counters rose by from one sample to the next.
type statsStep struct {
	Seconds   float64     `json:"seconds"`
	CPUs      []ct.CPU    `json:"cpus"`
	Total     ct.Counters `json:"total"`
	PerSecond ct.Rates    `json:"per_second"`
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
	snapshot, err := conn.Snapshot()
	if err != nil {
		return err
	}
	if err := ready(); err != nil {
		return err
	}
	r := newReadings(snapshot, s)
	if s.Once {
		return s.print(out, r.once())
	}
	if s.Interval > 0 {
		if err := s.samples(ctx, out, conn, r); err != nil {
			return err
		}
	} else {
		<-ctx.Done()
	}
	if snapshot, err = conn.Snapshot(); err != nil {
		return err
	}
	result := r.add(snapshot)
	switch {
	case s.Interval == 0:
		return s.print(out, result)
	case s.JSON:
		return printLine(out, result)
	default:
		if err := writeText(out, &statsRow{result, false}); err != nil {
			return err
		}
		return writeText(out, result)
	}
}

// samples prints one every interval until ctx is done. The last one, of less than an interval, is left to the caller.
func (s *statsCmd) samples(ctx context.Context, out output, conn *ct.Conn, r *readings) error {
	tick := time.NewTicker(s.Interval)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		snapshot, err := conn.Snapshot()
		if err != nil {
			return err
		}
		result := r.add(snapshot)
		if s.JSON {
			err = printLine(out, result)
		} else {
			const page = 20 // rows to a header, as vmstat has it
			err = writeText(out, &statsRow{result, n%page == 0})
		}
		if err != nil {
			return err
		}
	}
}

// printLine writes a result as one line of JSON.
func printLine(out output, result any) error {
	if err := json.NewEncoder(out.results).Encode(result); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

// readings sums up what the counters rose by from one reading to the next. Each difference is right across a wrap of the
// kernel's 32 bits, so the sum is however long it takes.
type readings struct {
	cmd         *statsCmd
	first, last ct.Snapshot
	risen       ct.Snapshot
	kernel      string
	meaning     map[string]string
}

func newReadings(first ct.Snapshot, cmd *statsCmd) *readings {
	r := &readings{cmd: cmd, first: first, last: first, risen: first.Since(first)}
	r.kernel, r.meaning = meanings(first.Total())
	return r
}

// meanings says what the counters that this kernel sends count on it.
func meanings(sent ct.Counters) (release string, meaning map[string]string) {
	build := kernel.ReadBuild(os.DirFS("/"))
	if build.Err != nil {
		return "", nil // the counters are worth printing without
	}
	meaning = make(map[string]string)
	for _, c := range ct.AllCounters() {
		if sent[c].Sent {
			meaning[c.String()] = kernel.CounterInWords(build.Value, c.String())
		}
	}
	return build.Value.Release, meaning
}

// add takes the next reading.
func (r *readings) add(now ct.Snapshot) *statsResult {
	step := now.Since(r.last)
	r.risen = step.Plus(r.risen)
	took := now.Time.Sub(r.last.Time)
	r.last = now
	result := r.result()
	if r.cmd.Interval > 0 {
		total := step.Total()
		result.Last = &statsStep{took.Seconds(), step.CPUs, total, total.PerSecond(took)}
	}
	return result
}

// once is the first reading itself.
func (r *readings) once() *statsResult {
	r.risen = r.first
	return r.result()
}

func (r *readings) result() *statsResult {
	total, took := r.risen.Total(), r.last.Time.Sub(r.first.Time)
	return &statsResult{
		Schema: 1, Version: version, Kernel: r.kernel,
		Time: r.last.Time, Seconds: took.Seconds(),
		Table: r.last.Table, CPUs: r.risen.CPUs, Total: total, PerSecond: total.PerSecond(took),
		Absolute: r.last.Total(), Meaning: r.meaning,
		cmd: r.cmd,
	}
}
