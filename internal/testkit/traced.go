package testkit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A Traced is a process that stands still, held by ptrace(2): a gate on costs that no other load on the machine
// changes, as times do. It is of the goroutine that stopped it, whose thread it keeps.
type Traced struct {
	t       *testing.T
	pid     int
	threads []int
}

// Trace stops all threads of a process, a child of this one that nobody waits for: who did would be told of its stops
// in the tracer's stead. They go on at the end of the test at the latest.
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
	if slices.Contains(tr.threads, thread) {
		return nil
	}
	if err := unix.PtraceSeize(thread); err != nil {
		return err
	}
	tr.threads = append(tr.threads, thread)
	if err := stop(thread); err != nil {
		return err
	}
	return unix.PtraceSetOptions(thread, unix.PTRACE_O_TRACESYSGOOD|unix.PTRACE_O_TRACEEXIT)
}

// stop makes a thread stand still, and takes no signal from it: one for each thread is what the Go runtime waits for
// where all are to make a system call.
func stop(thread int) error {
	for {
		if err := unix.PtraceInterrupt(thread); err != nil {
			return err
		}
		var status unix.WaitStatus
		if _, err := wait4(thread, &status, 0); err != nil {
			return err
		}
		if !status.Stopped() {
			return unix.ESRCH
		}
		if int(status)>>16 == unix.PTRACE_EVENT_STOP {
			return nil
		}
		// Another stop came first, and the interrupt is gone with it (ptrace_stop in kernel/signal.c).
		if err := unix.PtraceCont(thread, int(signalOf(status))); err != nil {
			return err
		}
	}
}

// systemCall is the stop before and after one, with PTRACE_O_TRACESYSGOOD.
const systemCall = unix.SIGTRAP | 0x80

// signalOf is what a thread is to be given as it goes on: the signal at which it stopped, or none.
func signalOf(status unix.WaitStatus) unix.Signal {
	if signal := status.StopSignal(); signal != systemCall && int(status)>>16 == 0 {
		return signal
	}
	return 0
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
// then to be waited for. It is not ok where the thread stands still for what another one holds, for so long.
func (tr *Traced) Instructions(thread int, within time.Duration) (n int, ok bool) {
	tr.t.Helper()
	var late atomic.Bool
	watch := time.AfterFunc(within, func() {
		late.Store(true)
		_ = unix.Kill(tr.pid, unix.SIGKILL)
	})
	defer watch.Stop()
	for {
		if err := unix.PtraceSingleStep(thread); err != nil {
			tr.end()
			if late.Load() {
				return n, false
			}
			tr.t.Fatalf("step thread %d after %d instructions: %v", thread, n, err)
		}
		var status unix.WaitStatus
		if _, err := wait4(thread, &status, 0); err != nil {
			tr.t.Fatalf("wait for thread %d after %d instructions: %v", thread, n, err)
		}
		switch {
		case status.TrapCause() == unix.PTRACE_EVENT_EXIT:
			tr.end()
			return n, !late.Load()
		case !status.Stopped() && late.Load():
			tr.end()
			return n, false
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

// SystemCalls lets all threads go until done says so, and counts the system calls of each by number. They run on then.
func (tr *Traced) SystemCalls(done func() bool) map[int]map[uint64]int {
	tr.t.Helper()
	calls, inside := map[int]map[uint64]int{}, map[int]bool{}
	for _, thread := range tr.threads {
		calls[thread] = map[uint64]int{}
		if err := unix.PtraceSyscall(thread, 0); err != nil {
			tr.t.Fatalf("let thread %d go: %v", thread, err)
		}
	}
	const within = time.Minute
	for deadline := time.Now().Add(within); !done(); {
		if time.Now().After(deadline) {
			tr.t.Fatalf("not done within %v, after %v", within, calls)
		}
		for _, thread := range tr.threads {
			var status unix.WaitStatus
			if n, err := wait4(thread, &status, unix.WNOHANG); err != nil || n == 0 || !status.Stopped() {
				continue
			}
			if status.StopSignal() == systemCall {
				if inside[thread] = !inside[thread]; inside[thread] {
					calls[thread][systemCallOf(tr.pid, thread)]++
				}
			}
			if err := unix.PtraceSyscall(thread, int(signalOf(status))); err != nil && !errors.Is(err, unix.ESRCH) {
				tr.t.Fatalf("let thread %d go on: %v", thread, err)
			}
		}
	}
	for _, thread := range tr.threads {
		_ = stop(thread) // as one that runs cannot be let go; it may have ended
	}
	tr.release()
	return calls
}

// systemCallOf is the number of the call in which a thread is, as proc_pid_syscall(5) tells it; what cannot be read
// counts as one that there is not.
func systemCallOf(pid, thread int) uint64 {
	const unknown = 1 << 16
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/syscall", pid, thread))
	if err != nil {
		return unknown
	}
	var number uint64
	if _, err := fmt.Sscan(string(text), &number); err != nil {
		return unknown
	}
	return number
}
