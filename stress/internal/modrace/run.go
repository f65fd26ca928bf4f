package modrace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/kernelfacts"
	"verdictd/internal/modules"
	"verdictd/internal/results"
)

// Strategy is how the threads of a round come to their sockets.
type Strategy string

// The strategies.
const (
	Naive        Strategy = "naive"
	ModulesFirst Strategy = "modules-first"
)

// Config says what a run does.
type Config struct {
	Threads  int // that ask at the same moment
	Rounds   int
	Strategy Strategy
}

// The limits. A thread that waits for modprobe is one of the kernel's as well.
const (
	maxThreads = 1024
	maxRounds  = 1 << 20
)

// Validate lists every problem.
func (c Config) Validate() error {
	var errs []error
	if c.Threads < 1 || c.Threads > maxThreads {
		errs = append(errs, fmt.Errorf("threads %d: must be from 1 to %d", c.Threads, maxThreads))
	}
	if c.Rounds < 1 || c.Rounds > maxRounds {
		errs = append(errs, fmt.Errorf("rounds %d: must be from 1 to %d", c.Rounds, maxRounds))
	}
	if c.Strategy != Naive && c.Strategy != ModulesFirst {
		errs = append(errs, fmt.Errorf("strategy %q: must be %s or %s", c.Strategy, Naive, ModulesFirst))
	}
	return errors.Join(errs...)
}

// Bounds of one unloading.
const (
	unloadTime = 10 * time.Second
	unloadGap  = 2 * time.Millisecond
	// After the last round, when nobody may use it any more.
	restoreTime = time.Second
)

// ErrInUse says that a module cannot be unloaded for its users.
var ErrInUse = errors.New("the module is in use")

// Run runs the rounds until they are over or ctx is. It returns a result with an error as well, if a round was
// completed. Rounded is called after each.
func Run(
	ctx context.Context, s System, t *Target, cfg Config, rounded func(*results.Modload),
) (res *results.Modload, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	res = &results.Modload{
		Config: results.ModloadConfig{
			Part: t.Part.Name, Alias: t.Part.Alias(), Module: t.Module.Name, Needs: append([]string{}, t.Module.Needs...),
			Threads: cfg.Threads, Rounds: cfg.Rounds, Strategy: string(cfg.Strategy),
		},
		Modprobe: t.Modprobe, Kmod: t.Kmod.Value.Text, KmodRace: kernelfacts.AssessKmod(t.Kmod).Status,
		Errors: map[string]uint64{},
	}
	if t.Kmod.Err != nil {
		res.Kmod = t.Kmod.Err.Error()
	}
	start := time.Now()
	w := newWorkers(s, t.Part, cfg.Threads)
	defer w.stop()
	for res.Rounds < cfg.Rounds && ctx.Err() == nil {
		if err = t.unload(ctx, s); err != nil {
			break
		}
		if err = t.round(ctx, s, cfg.Strategy, w, res); err != nil {
			break
		}
		if rounded != nil {
			rounded(res)
		}
	}
	res.Seconds = time.Since(start).Seconds()
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, context.DeadlineExceeded):
		res.TimedOut = true
		err = errors.Join(err, fmt.Errorf("timeout after %d of %d rounds", res.Rounds, cfg.Rounds))
	case cause != nil:
		res.Interrupted = true
		err = errors.Join(err, fmt.Errorf("interrupted after %d of %d rounds", res.Rounds, cfg.Rounds))
	}
	return res, errors.Join(err, t.restore(s))
}

func (t *Target) round(ctx context.Context, s System, strategy Strategy, w *workers, r *results.Modload) error {
	if strategy == ModulesFirst {
		if err := modules.LoadBy(ctx, s.Ask, t.Part); err != nil {
			r.StartErrors++
		}
	}
	outcomes, err := w.round(ctx)
	if err != nil {
		return err
	}
	r.Rounds++
	failed := false
	for _, err := range outcomes {
		if err == nil {
			r.Opened++
			continue
		}
		failed = true
		r.Failed++
		r.Errors[results.ErrnoName(err)]++
	}
	if failed {
		r.FailedRounds++
		if r.FirstFailure == 0 {
			r.FirstFailure = r.Rounds
		}
	}
	return nil
}

// unload takes the module out, and what came in with it.
func (t *Target) unload(ctx context.Context, s System) error {
	for i, name := range slices.Concat([]string{t.Module.Name}, t.Module.Needs) {
		own := i == 0
		if !own && slices.Contains(t.before, name) {
			continue
		}
		err := unloadOne(ctx, s, name, own)
		switch {
		case errors.Is(err, unix.ENOENT): // not loaded, or a part of the kernel
		case err == nil, !own && errors.Is(err, ErrInUse): // others need it too
		default:
			return fmt.Errorf("unload %s: %w", name, err)
		}
	}
	return nil
}

// unloadOne tries for a while where that is worth it.
func unloadOne(ctx context.Context, s System, name string, patient bool) error {
	for end := time.Now().Add(unloadTime); ; {
		err := s.Unload(name)
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EBUSY) {
			return err
		}
		if !patient || time.Now().After(end) {
			return fmt.Errorf("%w: %w", ErrInUse, err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(unloadGap):
		}
	}
}

// restore leaves the module as it was found.
func (t *Target) restore(s System) error {
	if slices.Contains(t.before, t.Module.Name) {
		if err := modules.LoadBy(context.Background(), s.Ask, t.Part); err != nil {
			return fmt.Errorf("load the module again that was there before: %w", err)
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), restoreTime)
	defer cancel()
	return t.unload(ctx, s)
}

// workers are threads that ask at the same moment.
type workers struct {
	begin []chan chan struct{} // each thread's: the round's starting signal
	ready sync.WaitGroup
	done  sync.WaitGroup
	errs  []error
}

func newWorkers(s System, part modules.Part, n int) *workers {
	w := &workers{begin: make([]chan chan struct{}, n), errs: make([]error, n)}
	for i := range n {
		w.begin[i] = make(chan chan struct{})
		go func() {
			// A thread each, so that none waits for another one's system call to return.
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			for start := range w.begin[i] {
				w.ready.Done()
				<-start
				w.errs[i] = s.Ask(part)
				w.done.Done()
			}
		}()
	}
	return w
}

// patience is how long threads are waited for when the run is over: no signal reaches one that waits for modprobe.
const patience = 20 * time.Second

// ErrStuck says that threads do not come back from the kernel.
var ErrStuck = errors.New("threads do not return from the kernel: is modprobe stuck?")

// round returns each thread's outcome. After an error the workers are of no more use.
func (w *workers) round(ctx context.Context) ([]error, error) {
	start, done := make(chan struct{}), make(chan struct{})
	w.ready.Add(len(w.begin))
	w.done.Add(len(w.begin))
	for _, begin := range w.begin {
		begin <- start
	}
	w.ready.Wait()
	close(start)
	go func() {
		w.done.Wait()
		close(done)
	}()
	select {
	case <-done:
		return w.errs, nil
	case <-ctx.Done():
	}
	select {
	case <-done:
		return w.errs, nil
	case <-time.After(patience):
		return nil, ErrStuck
	}
}

func (w *workers) stop() {
	for _, begin := range w.begin {
		close(begin)
	}
}

// Machine is the one that this runs on.
type Machine struct{ FS fs.FS }

// Root is the machine's root folder.
func (m Machine) Root() fs.FS { return m.FS }

// Release is the running kernel's release.
func (Machine) Release() (string, error) { return kernelfacts.Release() }

// Run runs a program.
func (Machine) Run(ctx context.Context, name string, args ...string) ([]byte, error) {
	return kernelfacts.Run(ctx, name, args...)
}

// Ask has the kernel look for a part.
func (Machine) Ask(part modules.Part) error { return part.Ask() }

// Unload takes a module out, without waiting for its users.
func (Machine) Unload(name string) error { return unix.DeleteModule(name, unix.O_NONBLOCK) }
