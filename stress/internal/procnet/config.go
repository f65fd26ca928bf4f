package procnet

import (
	"errors"
	"fmt"
	"time"
)

// Config says what a run does.
type Config struct {
	Namespaces int `json:"namespaces"`
	// Threads of each kind: Readers check what the names show, Renamers try to rename across them, Watchers set inotify watches,
	// Churners come and go in a namespace.
	Readers  int `json:"readers"`
	Renamers int `json:"renamers"`
	Watchers int `json:"watchers"`
	Churners int `json:"churners"`
	// Duration is how long they work, HangAfter after what time without a step a thread hangs.
	Duration  time.Duration `json:"duration_ns"`
	HangAfter time.Duration `json:"hang_after_ns"`
	// PlantHang adds a thread that waits in the kernel for ever: the watchdog has to find it.
	PlantHang bool `json:"plant_hang"`
}

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
func (c *Config) Validate() error {
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

// Result is what a run saw.
type Result struct {
	Config Config `json:"config"`
	// Views are the readings that were checked, by the kind of name that they were read through.
	Views map[string]uint64 `json:"views"`
	// WrongViews counts readings that showed what they should not; Wrong describes the first of them.
	WrongViews uint64  `json:"wrong_views"`
	Wrong      []Wrong `json:"wrong"`
	// ReadErrors are names that should be there and could not be read, by errno.
	ReadErrors map[string]uint64 `json:"read_errors"`
	// Renames are the attempts to rename, by errno; "none" would be a success. LocksReached says that they came to where the kernel
	// takes the directories' locks, which a read-only /proc does not let them.
	Renames      map[string]uint64 `json:"renames"`
	LocksReached bool              `json:"locks_reached"`
	// Watches counts inotify watches that were set, Threads those that came and went.
	Watches uint64 `json:"watches"`
	Threads uint64 `json:"threads"`
	// Hangs are threads that took no step for Config.HangAfter. Unkillable is the process that could not be ended for them, 0 for none.
	Hangs      []Hang `json:"hangs"`
	Unkillable int    `json:"unkillable"`

	Seconds     float64 `json:"seconds"`
	Interrupted bool    `json:"interrupted"`
}

// Wrong is a reading that showed what it should not.
type Wrong struct {
	Path string `json:"path"`
	Why  string `json:"why"`
}

// Hang is a thread that takes no step.
type Hang struct {
	Thread int     `json:"thread"` // its id
	Role   string  `json:"role"`
	Doing  string  `json:"doing"` // the step that does not end
	For    float64 `json:"seconds"`
	// State is the scheduler's letter for it: D waits uninterruptibly. Wchan is the kernel's function that it waits in, Stack its
	// kernel stack, each empty where it may not be read.
	State string   `json:"state"`
	Wchan string   `json:"wchan"`
	Stack []string `json:"stack"`
}

// Failed says in one line what the run found, "" for nothing.
func (r *Result) Failed() error {
	var errs []error
	if n := len(r.Hangs); n > 0 {
		h := r.Hangs[0]
		errs = append(errs, fmt.Errorf("%d thread(s) hang in the kernel; the first, a %s, since %.1f s in %s (%s)", n, h.Role, h.For, h.Doing, h.where()))
	}
	if r.Unkillable != 0 {
		errs = append(errs, staysBehind(r.Unkillable))
	}
	if r.WrongViews > 0 && len(r.Wrong) > 0 {
		errs = append(errs, fmt.Errorf("%d reading(s) showed another namespace's; the first, %s: %s", r.WrongViews, r.Wrong[0].Path, r.Wrong[0].Why))
	}
	if n := sum(r.ReadErrors); n > 0 {
		errs = append(errs, fmt.Errorf("%d reading(s) failed: %v", n, r.ReadErrors))
	}
	if n := r.Renames[renamed]; n > 0 {
		errs = append(errs, fmt.Errorf("%d rename(s) below /proc succeeded", n))
	}
	return errors.Join(errs...)
}

func (h *Hang) where() string {
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
