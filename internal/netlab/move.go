package netlab

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"verdictd/internal/cli"
)

// Move takes the whole process into a namespace, by its name (`ip netns`) or path, and returns if it is there already.
// Otherwise it executes the program once more, from a thread inside: a process that has threads cannot move them all,
// and /proc/net is that of its first one. What is open stays open, unless it is closed in programs that are executed.
func Move(nameOrPath string) error {
	found, err := FindNetNS(nameOrPath)
	if err != nil {
		return err
	}
	if Here(found.Path) {
		return nil
	}
	ns, err := OpenNetNS(nameOrPath)
	if err != nil {
		return err
	}
	// Never unlocked: where the program cannot be executed, the process ends over the error.
	runtime.LockOSThread()
	if err := unix.Setns(int(ns.file.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace %s (needs CAP_SYS_ADMIN): %w", nameOrPath, err)
	}
	program := cli.Itself()
	return fmt.Errorf("execute %s in network namespace %s: %w", program, nameOrPath, unix.Exec(program, os.Args, os.Environ()))
}

// Number is that of the calling thread's namespace, as lsns(8) shows it; 0: it is not known.
func Number() uint64 {
	here, err := namespaceOf("/proc/thread-self/ns/net")
	if err != nil {
		return 0
	}
	return here.inode
}

// Here reports whether the namespace at path is the calling thread's.
func Here(path string) bool {
	there, err := namespaceOf(path)
	if err != nil {
		return false
	}
	here, err := namespaceOf("/proc/thread-self/ns/net")
	return err == nil && there == here
}
