package testkit

import (
	"errors"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// A Traced is a process that stands still, held by ptrace(2): a gate on costs that no other load on the machine
// changes, as times do. It is of the goroutine that stopped it, whose thread it keeps.
type Traced struct {
	t       *testing.T
	pid     int
	threads []int
}

// Trace stops all threads of a process, a child of this one. They go on at the end of the test at the latest.
func Trace(t *testing.T, pid int) *Traced {
	t.Helper()
	runtime.LockOSThread() // the tracer is a thread, which ends with the test's goroutine
	tr := &Traced{t: t, pid: pid}
	t.Cleanup(tr.release)
	// Until no thread is new: one that is not held yet may start others.
	for {
		held := len(tr.threads)
		tasks, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task", "*"))
		if err != nil || len(tasks) == 0 {
			t.Fatalf("the threads of process %d: %v, %v", pid, tasks, err)
		}
		for _, task := range tasks {
			thread, err := strconv.Atoi(filepath.Base(task))
			if err != nil {
				t.Fatal(err)
			}
			if err := tr.hold(thread); err != nil {
				t.Fatalf("stop thread %d: %v", thread, err)
			}
		}
		if len(tr.threads) == held {
			return tr
		}
	}
}

func (tr *Traced) hold(thread int) error {
	for _, held := range tr.threads {
		if held == thread {
			return nil
		}
	}
	if err := unix.PtraceAttach(thread); err != nil {
		return err
	}
	tr.threads = append(tr.threads, thread)
	var status unix.WaitStatus
	if _, err := wait4(thread, &status, 0); err != nil {
		return err
	}
	return unix.PtraceSetOptions(thread, unix.PTRACE_O_TRACEEXIT)
}

// wait4 waits for one thread.
func wait4(thread int, status *unix.WaitStatus, options int) (int, error) {
	for {
		n, err := unix.Wait4(thread, status, unix.WALL|options, nil)
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// release lets all threads go that still stand still.
func (tr *Traced) release() {
	for _, thread := range tr.threads {
		_ = unix.PtraceDetach(thread) // it may have ended, or run
	}
	tr.threads = nil
}

// Instructions lets one thread go, alone, and counts its instructions in user space until it ends its process, which is
// then to be waited for.
func (tr *Traced) Instructions(thread int) (n int) {
	tr.t.Helper()
	for {
		if err := unix.PtraceSingleStep(thread); err != nil {
			tr.t.Fatalf("step thread %d after %d instructions: %v", thread, n, err)
		}
		var status unix.WaitStatus
		if _, err := wait4(thread, &status, 0); err != nil {
			tr.t.Fatalf("wait for thread %d after %d instructions: %v", thread, n, err)
		}
		switch {
		case status.TrapCause() == unix.PTRACE_EVENT_EXIT:
			tr.end()
			return n
		case !status.Stopped():
			tr.t.Fatalf("thread %d ended in a way that was not seen after %d instructions: %v", thread, n, status)
		case status.StopSignal() == unix.SIGTRAP:
			n++
		} // other signals are the Go runtime's, which wait
	}
}

// end kills the process, and takes its threads away, without which its first one does not end.
func (tr *Traced) end() {
	_ = unix.Kill(tr.pid, unix.SIGKILL)
	for _, thread := range tr.threads {
		for _ = unix.PtraceCont(thread, 0); thread != tr.pid; _ = unix.PtraceCont(thread, 0) {
			var status unix.WaitStatus
			if _, err := wait4(thread, &status, 0); err != nil || !status.Stopped() {
				break
			} // else at its exit
		}
	}
	_ = unix.PtraceDetach(tr.pid)
	tr.threads = nil
}
