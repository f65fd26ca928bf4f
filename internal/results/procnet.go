package results

import "time"

// Procnet is what `stress procnet` writes.
type Procnet struct {
	Config ProcnetConfig `json:"config"`
	// Views are the readings that were checked, by the kind of name that they were read through.
	Views map[string]uint64 `json:"views"`
	// WrongViews counts readings that showed what they should not; Wrong describes the first of them.
	WrongViews uint64      `json:"wrong_views"`
	Wrong      []WrongView `json:"wrong"`
	// ReadErrors are names that should be there and could not be read, by errno.
	ReadErrors map[string]uint64 `json:"read_errors"`
	// Renames are the attempts to rename, by errno; "none" would be a success. LocksReached says that they came to
	// where the kernel takes the directories' locks, which a read-only /proc does not let them.
	Renames      map[string]uint64 `json:"renames"`
	LocksReached bool              `json:"locks_reached"`
	// Watches counts inotify watches that were set, Threads those that came and went.
	Watches uint64 `json:"watches"`
	Threads uint64 `json:"threads"`
	// Hangs are threads that took no step for Config.HangAfter. Unkillable is the process that could not be ended for
	// them, 0 for none.
	Hangs      []Hang `json:"hangs"`
	Unkillable int    `json:"unkillable"`

	Seconds     float64 `json:"seconds"`
	Interrupted bool    `json:"interrupted"`
}

// WrongView is a reading that showed what it should not.
type WrongView struct {
	Path string `json:"path"`
	Why  string `json:"why"`
}

// Hang is a thread that takes no step.
type Hang struct {
	Thread int     `json:"thread"` // its id
	Role   string  `json:"role"`
	Doing  string  `json:"doing"` // the step that does not end
	For    float64 `json:"seconds"`
	// State is the scheduler's letter for it: D waits uninterruptibly. Wchan is the kernel's function that it waits in,
	// Stack its kernel stack, each empty where it may not be read.
	State string   `json:"state"`
	Wchan string   `json:"wchan"`
	Stack []string `json:"stack"`
}

// ProcnetConfig says what the run did.
type ProcnetConfig struct {
	Namespaces int `json:"namespaces"`
	// Threads of each kind: Readers check what the names show, Renamers try to rename across them, Watchers set inotify
	// watches, Churners come and go in a namespace.
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
