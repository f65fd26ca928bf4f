package procnet

import (
	"errors"
	"fmt"
	"time"

	"verdictd/internal/results"
)

// What a run does and sees, as its result file has it.
type (
	// Config says what a run does.
	Config = results.ProcnetConfig
	// Result is what a run saw.
	Result = results.Procnet
	// Wrong is a reading that showed what it should not.
	Wrong = results.WrongView
	// Hang is a thread that takes no step.
	Hang = results.Hang
)

// Default is a run of ten seconds.
func Default() Config {
	return Config{
		Namespaces: 3, Readers: 4, Renamers: 4, Watchers: 2, Churners: 2,
		Duration: 10 * time.Second, HangAfter: 10 * time.Second,
	}
}

const (
	maxNamespaces = 64
	maxThreads    = 256
	maxDuration   = 24 * time.Hour
)

// Validate lists every problem.
func Validate(c *Config) error {
	var errs []error
	between := func(name string, n, least, most int) {
		if n < least || n > most {
			errs = append(errs, fmt.Errorf("%s %d: must be from %d to %d", name, n, least, most))
		}
	}
	between("namespaces", c.Namespaces, 1, maxNamespaces)
	between("readers", c.Readers, 1, maxThreads)
	between("renamers", c.Renamers, 0, maxThreads)
	between("watchers", c.Watchers, 0, maxThreads)
	between("churners", c.Churners, 0, maxThreads)
	if c.Duration <= 0 || c.Duration > maxDuration {
		errs = append(errs, fmt.Errorf("duration %v: must be above 0 and at most %v", c.Duration, maxDuration))
	}
	if c.HangAfter < 100*time.Millisecond || c.HangAfter > time.Hour {
		errs = append(errs, fmt.Errorf("hang-after %v: must be from 100ms to 1h", c.HangAfter))
	}
	return errors.Join(errs...)
}

// Failed says in one line what the run found, "" for nothing.
func Failed(r *Result) error {
	var errs []error
	if n := len(r.Hangs); n > 0 {
		h := r.Hangs[0]
		errs = append(errs, fmt.Errorf("%d thread(s) hang in the kernel; the first, a %s, since %.1f s in %s (%s)", n, h.Role,
			h.For, h.Doing, where(&h)))
	}
	if r.Unkillable != 0 {
		errs = append(errs, staysBehind(r.Unkillable))
	}
	if r.WrongViews > 0 && len(r.Wrong) > 0 {
		errs = append(errs, fmt.Errorf("%d reading(s) showed another namespace's; the first, %s: %s", r.WrongViews,
			r.Wrong[0].Path, r.Wrong[0].Why))
	}
	if n := sum(r.ReadErrors); n > 0 {
		errs = append(errs, fmt.Errorf("%d reading(s) failed: %v", n, r.ReadErrors))
	}
	if n := r.Renames[renamed]; n > 0 {
		errs = append(errs, fmt.Errorf("%d rename(s) below /proc succeeded", n))
	}
	return errors.Join(errs...)
}

func where(h *Hang) string {
	if h.Wchan == "" {
		return "state " + h.State
	}
	return "state " + h.State + ", in " + h.Wchan
}

func sum(counts map[string]uint64) (n uint64) {
	for _, c := range counts {
		n += c
	}
	return n
}
