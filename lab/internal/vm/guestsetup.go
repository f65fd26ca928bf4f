package vm

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// mounts are what programs expect. What a kernel was built without is passed over, but for the first three.
var mounts = []struct{ kind, at, options string }{
	{"proc", "/proc", ""},
	{"sysfs", "/sys", ""},
	{"devtmpfs", "/dev", ""},
	{"tmpfs", "/tmp", ""},
	{"tmpfs", "/run", "mode=0755"},
	{"devpts", "/dev/pts", ""},
	{"tmpfs", "/dev/shm", ""},
	{"cgroup2", "/sys/fs/cgroup", ""},
	{"bpf", "/sys/fs/bpf", ""},
	{"debugfs", "/sys/kernel/debug", ""},
	{"tracefs", "/sys/kernel/tracing", ""},
}

func mountAll() error {
	for i, m := range mounts {
		if m.at == "/dev/pts" || m.at == "/dev/shm" {
			if err := os.MkdirAll(m.at, 0o750); err != nil {
				return err
			}
		}
		err := unix.Mount(m.kind, m.at, m.kind, 0, m.options)
		if err != nil && (i < 3 || !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.ENOENT)) {
			return fmt.Errorf("mount %s on %s: %w", m.kind, m.at, err)
		}
	}
	for link, target := range map[string]string{
		"/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0", "/dev/stdout": "/proc/self/fd/1",
		"/dev/stderr": "/proc/self/fd/2",
	} {
		if err := os.Symlink(target, link); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}

// settle gives the machine a name, a loopback device that is up, and the environment of a login.
func settle() error {
	if err := unix.Sethostname([]byte("guest")); err != nil {
		return fmt.Errorf("set the host's name: %w", err)
	}
	if err := raiseLoopback(); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	for name, value := range map[string]string{
		"PATH": "/bin:/sbin:/usr/bin:/usr/sbin:/usr/local/bin:/usr/local/sbin", "HOME": "/root", "TMPDIR": "/tmp",
		"TERM": "dumb",
	} {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	return nil
}

func raiseLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd) //nolint:errcheck // a socket that carried nothing
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}

// openPort opens a serial port for bytes as they are: a terminal's line discipline would rewrite line ends.
func openPort(name string) (*os.File, error) {
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s is no serial port: %w", name, err), unix.Close(fd))
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	t.Cflag = unix.CS8 | unix.CLOCAL | unix.CREAD | unix.B115200
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, t); err != nil {
		return nil, errors.Join(fmt.Errorf("set %s to raw bytes: %w", name, err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), name), nil
}

// drain waits until the port has sent everything: what it holds goes with the machine.
func drain(port *os.File) {
	if err := unix.IoctlSetInt(int(port.Fd()), unix.TCSBRK, 1); err != nil {
		fmt.Fprintln(os.Stderr, "guest: wait for the port:", err)
	}
}
