package netlab

import (
	"os"
	"os/exec"
	"syscall"
)

// CanMakeNetNS says why this process cannot make a network namespace and
// configure it, by doing so; nil when it can.
func CanMakeNetNS() error {
	ns, err := NewNetNS()
	if err != nil {
		return err
	}
	return ns.Close()
}

// InUserNamespace prepares a command that starts as root of a new user
// namespace, with a network namespace owned by that: there an ordinary user
// can do all that this package does. Its Start fails where the machine forbids
// such namespaces (user.max_user_namespaces is 0,
// kernel.unprivileged_userns_clone is 0, or a container's seccomp filter), and
// on Ubuntu since 23.10 (kernel.apparmor_restrict_unprivileged_userns is 1) the
// child comes up without capabilities, which [CanMakeNetNS] there tells.
func InUserNamespace(cmd *exec.Cmd) *exec.Cmd {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET
	cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
	cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	return cmd
}
