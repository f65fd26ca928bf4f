package modrace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"verdictd/internal/modules"
	"verdictd/internal/results"
	"verdictd/stress/internal/record"
	"verdictd/stress/internal/summary"
)

// Measure runs the rounds on this machine, within a time, and records what came of them. The module is the one behind
// the part, where the index of modules does not tell; else empty.
func Measure(ctx context.Context, part modules.Part, module string, cfg Config, within time.Duration,
	to record.Config) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	machine := Machine{FS: os.DirFS("/")}
	target, err := Prepare(ctx, machine, part, module)
	if err != nil {
		return fmt.Errorf("modload: %w", err)
	}
	r, err := to.Open()
	if err != nil {
		return err
	}
	// What an unloading breaks may break at once: the file has the rounds up to the one before, now and then.
	const every = 10
	var flushed error
	shown := to.Progress(0)
	res, err := Run(ctx, machine, target, cfg, func(res *results.Modload) {
		shown.Part(float64(res.Rounds)/float64(cfg.Rounds), "%d of %d rounds, %d attempts failed", res.Rounds, cfg.Rounds, res.Failed)
		if res.Rounds%every == 1 {
			flushed = errors.Join(flushed, r.Flush(res))
		}
	})
	shown.End()
	if err = errors.Join(err, flushed); err != nil {
		err = fmt.Errorf("modload: %w", err)
	}
	if res.Failed > 0 {
		err = errors.Join(err, fmt.Errorf("modload: %d of %d attempts failed, in %d of %d rounds",
			res.Failed, res.Failed+res.Opened, res.FailedRounds, res.Rounds))
	}
	return errors.Join(err, r.Write("modload", res, func(w io.Writer) error { return summarize(w, res) }))
}

// summarize writes what a person wants to know first.
func summarize(w io.Writer, res *results.Modload) error {
	c := &res.Config
	t := summary.New(w)
	t.Row("modload", "%s (%s, module %s), %d threads, strategy %s", c.Part, c.Alias, c.Module, c.Threads, c.Strategy)
	t.Row("modprobe", "%s (%s); the race of kmod up to 19: %s", res.Modprobe, res.Kmod, res.KmodRace)
	t.Row("rounds", "%d of %d in %.3f s", res.Rounds, c.Rounds, res.Seconds)
	t.Row("attempts", "%d succeeded, %d failed", res.Opened, res.Failed)
	if res.Failed > 0 {
		t.Row("failures", "%s, in %d rounds, first in round %d", summary.Counts(res.Errors), res.FailedRounds,
			res.FirstFailure)
	}
	if res.StartErrors > 0 {
		t.Row("start", "gave up before the threads began in %d rounds", res.StartErrors)
	}
	return t.Flush()
}
