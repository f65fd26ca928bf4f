package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"verdictd/internal/report"
)

// A testbed is what the measurements run on.
type testbed struct {
	programs
	version string // the lab's
	host    report.Host
	cpus    []int // those that the programs may run on
}

// newTestbed looks at the machine.
func newTestbed(ctx context.Context, p programs, version string) (t *testbed, err error) {
	t = &testbed{programs: p, version: version}
	if t.host, err = readHost(ctx, t.programs); err != nil {
		return nil, fmt.Errorf("look at this machine: %w", err)
	}
	t.host.Versions["lab"] = version
	t.cpus, err = allowedCPUs()
	return t, err
}

// allowedCPUs are those that this process, and so the daemon, may run on.
func allowedCPUs() ([]int, error) {
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

// withFiles gives do a directory for the programs' files, which goes when do returns.
func withFiles(do func(dir string)) (err error) {
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
