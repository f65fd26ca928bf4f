package vm

import (
	"context"
	"errors"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// runBounded runs a program until it or the context ends. It leaves no process: the program has a group of its own, which
// is killed, and dies with this process.
func runBounded(ctx context.Context, cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 5 * time.Second // for who inherited its output
	ended := make(chan error, 1)
	started := make(chan error, 1)
	go func() {
		// Pdeathsig is about the thread that forks: it stays until the program is gone, and takes no other goroutine on that
		// might end it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	// To the group: QEMU has no children, but what a wrapper of that name started would stay.
	killed := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	if errors.Is(killed, syscall.ESRCH) {
		killed = nil // it ended meanwhile
	}
	return errors.Join(<-ended, killed)
}
