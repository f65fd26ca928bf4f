package bench

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// errThreadEnded makes a measurement worthless: a thread that ends takes the record of its time with it.
var errThreadEnded = errors.New("one of its threads ended meanwhile")

// A CPUUsage is how long each thread of a process has been on a CPU, in user space and in the kernel.
type CPUUsage map[int]time.Duration

// ReadCPU sums nothing up yet: the sum of threads at two times would hide one that has ended.
func ReadCPU(proc string, pid int) (CPUUsage, error) {
	tasks := filepath.Join(proc, strconv.Itoa(pid), "task")
	entries, err := os.ReadDir(tasks)
	if err != nil {
		return nil, fmt.Errorf("list the threads of process %d: %w", pid, err)
	}
	usage := CPUUsage{}
	for _, entry := range entries {
		thread, err := strconv.Atoi(entry.Name())
		if err != nil {
			return nil, fmt.Errorf("list the threads of process %d: %w", pid, err)
		}
		path := filepath.Join(tasks, entry.Name(), "schedstat")
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read a thread's CPU time (needs CONFIG_SCHED_INFO): %w", err)
		}
		if usage[thread], err = parseSchedstat(text); err != nil {
			return nil, fmt.Errorf("read a thread's CPU time from %s: %w", path, err)
		}
	}
	return usage, nil
}

// parseSchedstat is the first of three fields: the time on a CPU in nanoseconds
// (Documentation/scheduler/sched-stats.rst).
func parseSchedstat(text []byte) (time.Duration, error) {
	fields := bytes.Fields(text)
	if len(fields) != 3 {
		return 0, fmt.Errorf("%q has not three fields", text)
	}
	ns, err := strconv.ParseInt(string(fields[0]), 10, 64)
	if err != nil {
		return 0, err
	}
	return time.Duration(ns), nil
}

// Since is the time spent since an earlier reading.
func (u CPUUsage) Since(before CPUUsage) (time.Duration, error) {
	var spent time.Duration
	for thread, then := range before {
		now, ok := u[thread]
		if !ok {
			return 0, errThreadEnded
		}
		spent += now - then
	}
	for thread, now := range u {
		if _, ok := before[thread]; !ok {
			spent += now
		}
	}
	return spent, nil
}

// PinProcess keeps every thread of a process, and those that they will start, on one CPU.
func PinProcess(pid, cpu int) error {
	usage, err := ReadCPU("/proc", pid)
	if err != nil {
		return err
	}
	var set unix.CPUSet
	set.Set(cpu)
	for thread := range usage {
		if err := unix.SchedSetaffinity(thread, &set); err != nil {
			return fmt.Errorf("pin process %d to CPU %d: %w", pid, cpu, err)
		}
	}
	return nil
}

// OnCPU runs f on a thread of its own that is pinned, in the calling goroutine's stead.
func OnCPU(cpu int, f func() error) error {
	done := make(chan error, 1)
	go func() {
		// Never unlocked: the thread ends with the goroutine, and no other one comes to be pinned.
		runtime.LockOSThread()
		var set unix.CPUSet
		set.Set(cpu)
		if err := unix.SchedSetaffinity(0, &set); err != nil {
			done <- fmt.Errorf("pin the load to CPU %d: %w", cpu, err)
			return
		}
		done <- f()
	}()
	return <-done
}

// ReadRSS is a process's resident memory in KiB.
func ReadRSS(pid int) (int, error) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return 0, fmt.Errorf("find process %d: %w", pid, err)
	}
	status, err := p.NewStatus()
	if err != nil {
		return 0, fmt.Errorf("read the memory of process %d: %w", pid, err)
	}
	return int(status.VmRSS >> 10), nil
}
