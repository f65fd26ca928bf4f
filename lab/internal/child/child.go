package child

import (
	"context"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// Attributes are those of every child. The signal is what it gets when the thread that forked it ends.
func Attributes(end syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: end}
}

// Run runs a command, which has to be one of [exec.CommandContext] with the same context, until it or the context ends.
// In the latter case its group gets the signal, is killed if that did not end it, and the error is the context's cause.
// Who inherited the command's output has as long to let go of it.
func Run(ctx context.Context, cmd *exec.Cmd, end syscall.Signal, grace time.Duration) error {
	cmd.SysProcAttr = Attributes(end)
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, end) }
	cmd.WaitDelay = grace
	runtime.LockOSThread() // see Lifetime in the package's comment
	defer runtime.UnlockOSThread()
	err := cmd.Run()
	if ctx.Err() == nil {
		return err
	}
	if cmd.Process != nil {
		// Whoever of the group did not listen. ESRCH says that there is nobody.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	return context.Cause(ctx)
}
