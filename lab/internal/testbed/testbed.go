package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"verdictd/internal/report"
)

// A Testbed is what the measurements run on.
type Testbed struct {
	Programs
	Version string // the lab's
	Host    report.Host
	CPUs    []int // those that the programs may run on
}

// New looks at the machine.
func New(ctx context.Context, p Programs, version string) (t *Testbed, err error) {
	t = &Testbed{Programs: p, Version: version}
	if t.Host, err = readHost(ctx, t.Programs); err != nil {
		return nil, fmt.Errorf("look at this machine: %w", err)
	}
	t.Host.Versions["lab"] = version
	t.CPUs, err = AllowedCPUs()
	return t, err
}

// AllowedCPUs are those that this process, and so the daemon, may run on.
func AllowedCPUs() ([]int, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("find the CPUs to pin the daemon's threads to: %w", err)
	}
	var cpus []int
	for cpu := 0; len(cpus) < set.Count(); cpu++ {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	return cpus, nil
}

// WithFiles gives do a directory for the programs' files, which goes when do returns.
func WithFiles(do func(dir string)) (err error) {
	dir, err := os.MkdirTemp("", "lab-")
	if err != nil {
		return fmt.Errorf("make a directory for the programs' files (set TMPDIR to where that is allowed): %w", err)
	}
	defer func() {
		if e := os.RemoveAll(dir); e != nil {
			err = errors.Join(err, fmt.Errorf("remove the programs' files: %w", e))
		}
	}()
	do(dir)
	return nil
}
