package stats

import (
	"os"

	"verdictd/conntrackwatch/internal/observe"
	"verdictd/internal/ct"
	"verdictd/internal/kernelfacts"
)

// Readings sum up what the counters rose by from one reading to the next. Each difference is right across a wrap of the
// kernel's 32 bits, so the sum is however long it takes.
type Readings struct {
	options     Options
	source      *observe.Source
	first, last ct.Snapshot
	risen       ct.Snapshot
	made        int // which namespace it is, as the source says
	kernel      string
	meaning     map[string]string
}

// Begin takes the first one.
func Begin(source *observe.Source, o Options) (*Readings, error) {
	first, made, err := source.Counters()
	if err != nil {
		return nil, err
	}
	r := begin(first, o)
	r.source, r.made = source, made
	return r, nil
}

func begin(first ct.Snapshot, o Options) *Readings {
	r := &Readings{options: o, source: &observe.Source{}, first: first, last: first, risen: first.Since(first)}
	r.kernel, r.meaning = meanings(first.Total())
	return r
}

// Next takes the next reading.
func (r *Readings) Next() (*Result, error) {
	now, made, err := r.source.Counters()
	if err != nil {
		return nil, err
	}
	if made != r.made {
		r.made, r.last.CPUs = made, nil // another namespace, which began at 0
	}
	return r.add(now), nil
}

// SoFar is what was counted up to the last reading.
func (r *Readings) SoFar() *Result { return r.result() }

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
func (r *Readings) add(now ct.Snapshot) *Result {
	step := now.Since(r.last)
	r.risen = step.Plus(r.risen)
	took := now.Time.Sub(r.last.Time)
	r.last = now
	result := r.result()
	if r.options.Interval {
		total := step.Total()
		result.Last = &Step{took.Seconds(), step.CPUs, total, total.PerSecond(took)}
	}
	return result
}

// Once is the first reading itself.
func (r *Readings) Once() *Result {
	r.risen = r.first
	return r.result()
}

func (r *Readings) result() *Result {
	total, took := r.risen.Total(), r.last.Time.Sub(r.first.Time)
	return &Result{
		Schema: 1, Version: r.options.Version, Kernel: r.kernel, NetNS: r.source.Name,
		Time: r.last.Time, Seconds: took.Seconds(),
		Table: r.last.Table, CPUs: r.risen.CPUs, Total: total, PerSecond: total.PerSecond(took),
		Absolute: r.last.Total(), Meaning: r.meaning,
		options: r.options,
	}
}
