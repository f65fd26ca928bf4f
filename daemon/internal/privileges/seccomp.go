package privileges

import (
	"fmt"
	"slices"

	"github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"
)

// calls are the system calls that the daemon makes, over its whole life, on any architecture. The first ones are those
// of each packet: before Linux 5.11, which remembers the answers, the list is walked at each call.
var calls = []string{
	// Packets.
	"recvmmsg", "sendto", "futex", "recvmsg", "sendmsg", "recvfrom", "clock_gettime", "ppoll", "poll", "pselect6",
	"nanosleep", "clock_nanosleep", "membarrier", "sched_yield", "sendmmsg",
	// The Go runtime: threads, memory, signals, the poller, the profiler.
	"epoll_pwait", "epoll_pwait2", "epoll_wait", "epoll_ctl", "epoll_create1", "eventfd2", "pipe2", "mmap", "munmap",
	"mprotect", "mremap", "madvise", "mincore", "brk", "prctl", "arch_prctl", "rt_sigaction", "rt_sigprocmask",
	"rt_sigreturn", "rt_sigtimedwait", "sigaltstack", "restart_syscall", "tgkill", "tkill", "kill", "gettid", "getpid",
	"getppid", "exit", "exit_group", "set_robust_list", "set_tid_address", "rseq", "setitimer", "timer_create",
	"timer_settime", "timer_delete", "sched_getaffinity", "sched_setaffinity",
	"sched_getattr", "sched_setattr", "getrandom", "gettimeofday", "time",
	"uname", "sysinfo", "prlimit64", "getrlimit", "getrusage", "times", "wait4", "waitid", "getuid", "geteuid", "getgid",
	"getegid", "getgroups", "capget", "getcpu", "getpriority", "setpriority", "getsid", "getpgid", "getpgrp",
	// Sockets.
	"connect", "accept", "accept4", "bind", "listen", "shutdown", "getsockname", "getpeername", "socketpair",
	"setsockopt", "getsockopt",
	// Descriptors and files.
	"read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "close", "close_range", "dup", "dup3",
	"fcntl", "ioctl", "lseek", "fstat", "stat", "lstat", "newfstatat", "fstatat64", "statx", "statfs", "fstatfs", "access",
	"faccessat", "faccessat2", "open", "openat", "openat2", "getcwd", "getdents64", "readlink", "readlinkat", "rename",
	"renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "chmod", "fchmod", "fchmodat", "fchown",
	"fchownat", "umask", "ftruncate", "truncate", "fallocate", "fsync", "fdatasync", "sync_file_range", "flock", "utimensat",
	"splice", "sendfile", "copy_file_range", "memfd_create", "inotify_init1", "inotify_add_watch", "inotify_rm_watch",
}

// families are those of sockets: netlink's, the metrics' and the control socket's, the service manager's.
var families = []uint64{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK}

// noClone3 has whoever tries clone3(2) fall back to clone(2): its flags are in memory, where no filter can look.
const noClone3 = seccomp.ActionErrno | seccomp.Action(unix.ENOSYS)

// filterCalls leaves the calls above for all threads. Others return EPERM, so that a library that tries a new one falls
// back, and are logged by the kernel. Programs cannot be executed, nor processes made.
func filterCalls() error {
	if !seccomp.Supported() {
		return errNoSupport
	}
	info, err := arch.GetInfo("")
	if err != nil {
		return err
	}
	known := slices.DeleteFunc(slices.Clone(calls), func(name string) bool { _, ok := info.SyscallNames[name]; return !ok })
	conditional := []seccomp.NameWithConditions{
		{Name: "clone", Conditions: []seccomp.Condition{{Argument: 0, Operation: seccomp.BitsSet, Value: unix.CLONE_THREAD}}},
	}
	for _, family := range families {
		conditional = append(conditional, seccomp.NameWithConditions{
			Name: "socket", Conditions: []seccomp.Condition{{Argument: 0, Operation: seccomp.Equal, Value: family}},
		})
	}
	filter := seccomp.Filter{
		NoNewPrivs: true,
		Flag:       seccomp.FilterFlagTSync | seccomp.FilterFlagLog,
		Policy: seccomp.Policy{
			DefaultAction: seccomp.ActionErrno,
			Syscalls: []seccomp.SyscallGroup{
				{Names: known, Action: seccomp.ActionAllow},
				{NamesWithCondtions: conditional, Action: seccomp.ActionAllow},
				{Names: []string{"clone3"}, Action: noClone3},
			},
		},
	}
	if err := seccomp.LoadFilter(filter); err != nil {
		return fmt.Errorf("leave %d system calls: %w", len(known), err)
	}
	return nil
}
