package main

import (
	"os"

	"verdictd/conntrackwatch/internal/observe"
	"verdictd/internal/ct"
	"verdictd/internal/kernelfacts"
)

// readings sums up what the counters rose by from one reading to the next. Each difference is right across a wrap of the
// kernel's 32 bits, so the sum is however long it takes.
type readings struct {
	cmd         *statsCmd
	source      *observe.Source
	first, last ct.Snapshot
	risen       ct.Snapshot
	kernel      string
	meaning     map[string]string
}

// newReadings takes the first one.
func newReadings(source *observe.Source, cmd *statsCmd) (*readings, error) {
	first, err := source.Counters()
	if err != nil {
		return nil, err
	}
	r := begin(first, cmd)
	r.source = source
	return r, nil
}

func begin(first ct.Snapshot, cmd *statsCmd) *readings {
	r := &readings{cmd: cmd, source: &observe.Source{}, first: first, last: first, risen: first.Since(first)}
	r.kernel, r.meaning = meanings(first.Total())
	return r
}

// next takes the next reading.
func (r *readings) next() (*statsResult, error) {
	now, err := r.source.Counters()
	if err != nil {
		return nil, err
	}
	return r.add(now), nil
}

// meanings says what the counters that this kernel sends count on it.
func meanings(sent ct.Counters) (release string, meaning map[string]string) {
	build := kernelfacts.ReadBuild(os.DirFS("/"))
	if build.Err != nil {
		return "", nil // the counters are worth printing without
	}
	meaning = make(map[string]string)
	for _, c := range ct.AllCounters() {
		if sent[c].Sent {
			meaning[c.String()] = kernelfacts.CounterInWords(build.Value, c.String())
		}
	}
	return build.Value.Release, meaning
}

// add adds a reading.
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
		Schema: 1, Version: version, Kernel: r.kernel, NetNS: r.source.Name,
		Time: r.last.Time, Seconds: took.Seconds(),
		Table: r.last.Table, CPUs: r.risen.CPUs, Total: total, PerSecond: total.PerSecond(took),
		Absolute: r.last.Total(), Meaning: r.meaning,
		cmd: r.cmd,
	}
}
