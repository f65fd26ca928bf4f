package netlab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"verdictd/internal/cli"
)

// insideVariable is set in the program that runs in a user namespace, which must not make another one.
const insideVariable = "VERDICTD_INSIDE_USER_NAMESPACE"

// endWithin is how long the program inside may take to clean up after a signal.
const endWithin = 30 * time.Second

// Inside says whether this process was started by [Ensure] in a user namespace.
func Inside() bool { return os.Getenv(insideVariable) != "" }

// Ensure makes sure that this process can make network namespaces. Where it cannot, it runs the same command once more
// as root of a user namespace; outside is then true and err tells how that went. The program's name is for messages.
func Ensure(ctx context.Context, program string, stdout, stderr io.Writer) (outside bool, err error) {
	cannot := CanMakeNetNS()
	if cannot == nil {
		return false, nil
	}
	if Inside() {
		return true, forbidden(program, cannot)
	}
	executable, err := os.Executable()
	if err != nil {
		return true, fmt.Errorf("find the executable of %s: %w", program, err)
	}
	cmd := InUserNamespace(exec.CommandContext(ctx, executable, os.Args[1:]...))
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), insideVariable+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, stdout, stderr
	// A signal to this process is one to the program inside, which then cleans up and ends by itself.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = endWithin
	// With the thread that forks it dies the program inside, and with that all of its children.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	// A process group of its own: a terminal's Ctrl-C would reach it besides the signal from this process, and a second
	// signal may be taken for impatience.
	cmd.SysProcAttr.Setpgid = true
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return true, forbidden(program, errors.Join(cannot, fmt.Errorf("start in a user namespace: %w", err)))
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	switch {
	case err == nil, cmd.ProcessState != nil && cmd.ProcessState.Success():
		return true, nil
	case errors.As(err, &exit) && exit.Exited():
		return true, cli.ErrReported
	}
	return true, fmt.Errorf("%s in the user namespace ended after %v: %w", program, time.Since(begun).Round(time.Second), err)
}

// forbidden explains why there are no namespaces to be had, and what to do.
func forbidden(program string, cause error) error {
	return fmt.Errorf("%s needs network namespaces, and cannot make them: %w\n%s", program, cause, advice("/proc/sys", program))
}

// A restriction is a sysctl that can keep an ordinary user from user namespaces.
type restriction struct {
	name      string // as for sysctl(8)
	forbids   string // the value that does
	otherwise string // one that does not
	reason    string
}

var restrictions = []restriction{
	{"kernel.unprivileged_userns_clone", "0", "1", "user namespaces are for root only (Debian and others)"},
	{"user.max_user_namespaces", "0", "15000", "user namespaces are turned off (RHEL 7's default)"},
	{"kernel.apparmor_restrict_unprivileged_userns", "1", "0", "AppArmor takes the capabilities away in a user namespace (Ubuntu 23.10 and later)"},
}

// advice is what can be done on this machine, by the sysctls below root.
func advice(root, program string) string {
	var b strings.Builder
	for _, r := range restrictions {
		value, err := os.ReadFile(filepath.Join(root, strings.ReplaceAll(r.name, ".", "/")))
		if err != nil || strings.TrimSpace(string(value)) != r.forbids {
			continue
		}
		fmt.Fprintf(&b, "%s is %s: %s. To allow them until the next boot: sudo sysctl %s=%s\n", r.name, r.forbids, r.reason, r.name, r.otherwise)
	}
	if b.Len() == 0 {
		b.WriteString("No sysctl that is known to forbid it is set: perhaps this is a container, which then needs CAP_SYS_ADMIN and CAP_NET_ADMIN and a seccomp filter that allows unshare (docker run --privileged).\n")
	}
	b.WriteString("Or run " + program + " as root: sudo " + strings.Join(os.Args, " "))
	return b.String()
}
