package procnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"verdictd/stress/internal/record"
	"verdictd/stress/internal/summary"
)

// Measure runs what a configuration says that is valid, and records what it found. The command runs [Work].
func Measure(ctx context.Context, cfg Config, command []string, to record.Config) error {
	r, err := to.Open()
	if err != nil {
		return err
	}
	shown := to.Progress(cfg.Duration)
	shown.Part(0, "reading, renaming and watching names")
	res, err := Run(ctx, cfg, command, to.Stderr)
	shown.End()
	if err != nil {
		err = fmt.Errorf("procnet: %w", err)
	}
	if res == nil {
		return errors.Join(err, r.Close())
	}
	if res.Interrupted {
		err = errors.Join(err, fmt.Errorf("procnet: interrupted after %.1f s", res.Seconds))
	}
	if found := Failed(res); found != nil {
		err = errors.Join(err, fmt.Errorf("procnet: %w", found))
	}
	return errors.Join(err, r.Write("procnet", res, func(w io.Writer) error { return summarize(w, res) }))
}

// summarize writes what a person wants to know first.
func summarize(w io.Writer, res *Result) error {
	c := &res.Config
	t := summary.New(w)
	t.Row("procnet", "%d namespaces, %d readers, %d renamers, %d watchers, %d churners, %.1f s",
		c.Namespaces, c.Readers, c.Renamers, c.Watchers, c.Churners, res.Seconds)
	for _, kind := range slices.Sorted(maps.Keys(res.Views)) {
		t.Row("view", "%s read %d times", kind, res.Views[kind])
	}
	t.Row("wrong", "%d readings showed another namespace's, %s", res.WrongViews,
		orNone("could not be read", res.ReadErrors))
	for _, wrong := range res.Wrong {
		t.Row("", "%s: %s", wrong.Path, wrong.Why)
	}
	reached := "the kernel took the directories' locks for them"
	if !res.LocksReached {
		reached = "none came to the directories' locks: is /proc mounted read-only?"
	}
	if c.Renamers > 0 {
		t.Row("renames", "%s; %s", orNone("attempts", res.Renames), reached)
	}
	t.Row("watches", "%d set; %d threads came and went", res.Watches, res.Threads)
	t.Row("hangs", "%d threads took no step for %v", len(res.Hangs), c.HangAfter)
	for _, h := range res.Hangs {
		t.Row("", "thread %d (%s), for %.1f s, state %s, in %s: %s", h.Thread, h.Role, h.For, h.State, h.Wchan, h.Doing)
		for _, frame := range h.Stack {
			t.Row("", "  %s", frame)
		}
	}
	return t.Flush()
}

func orNone(what string, counts map[string]uint64) string {
	if len(counts) == 0 {
		return "none " + what
	}
	return what + ": " + summary.Counts(counts)
}
