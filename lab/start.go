package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"

	"verdictd/internal/netlab"
	"verdictd/internal/report"
)

// begin is what every measurement begins with: the programs, the right to make namespaces, and whether the result can be
// written to its files. Where this process may not make namespaces, the lab runs once more as root of a user namespace:
// outside is then true, and there is nothing left to do.
func (std streams) begin(ctx context.Context, bin string, files ...string) (p programs, outside bool, err error) {
	if p, err = findPrograms(bin); err != nil {
		return p, false, err
	}
	if outside, err := netlab.Ensure(ctx, "lab", std.out, std.err); outside {
		return p, true, err
	}
	for _, path := range files {
		if err := canWrite(path); err != nil {
			return p, false, err
		}
	}
	return p, false, nil
}

// A testbed is what the measurements run on.
type testbed struct {
	programs
	host report.Host
	cpus []int // those that the programs may run on
}

// prepare begins, and looks at the machine. Outside is that of begin.
func (std streams) prepare(ctx context.Context, bin string, files ...string) (t testbed, outside bool, err error) {
	if t.programs, outside, err = std.begin(ctx, bin, files...); outside || err != nil {
		return t, outside, err
	}
	if t.host, err = readHost(ctx, t.programs); err != nil {
		return t, false, fmt.Errorf("look at this machine: %w", err)
	}
	t.cpus, err = allowedCPUs()
	return t, false, err
}

// canWrite finds out before the minutes of measuring whether the report can be written after them.
func canWrite(path string) error {
	if path == "" || path == "-" {
		return nil
	}
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		return fmt.Errorf("the report could not be written later: %s is a directory", path)
	}
	if err == nil && !info.Mode().IsRegular() {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".lab-") // it is written beside and renamed
	if err != nil {
		return fmt.Errorf("the report could not be written later to %s: %w", path, err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
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

// within says that a flag's number is out of its range.
func within(flag string, n, low, high int) error {
	if n < low || n > high {
		return fmt.Errorf("%s %d is not within %d to %d", flag, n, low, high)
	}
	return nil
}
