package privileges

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"
)

// kept is the capability that stays.
const kept = unix.CAP_NET_ADMIN

// prctl calls prctl(2) on all threads.
func prctl(option, argument uintptr) error {
	if _, _, errno := psx.Syscall6(unix.SYS_PRCTL, option, argument, 0, 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// noNewPrivileges keeps programs that are executed from gaining anything.
func noNewPrivileges() error {
	if err := prctl(unix.PR_SET_NO_NEW_PRIVS, 1); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	return nil
}

// dropBounding takes away what executed programs could have. Without CAP_SETPCAP that is impossible, and a service
// manager has done it, or nobody.
func dropBounding() error {
	for capability := range uintptr(64) {
		in, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, capability, 0, 0, 0)
		if errors.Is(err, unix.EINVAL) {
			break // the kernel has no more of them
		}
		if err != nil {
			return fmt.Errorf("read capabilities that executed programs could have: %w", err)
		}
		if in == 0 || capability == kept {
			continue
		}
		if err := prctl(unix.PR_CAPBSET_DROP, capability); err != nil {
			return fmt.Errorf("drop capabilities that executed programs could have: %w", err)
		}
	}
	return nil
}

// keepCapabilities gives up all capabilities but one, which stays if it is there.
func keepCapabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var have, keep [2]unix.CapUserData
	if err := unix.Capget(&header, &have[0]); err != nil {
		return fmt.Errorf("read the capabilities: %w", err)
	}
	mask := have[kept/32].Permitted & (1 << (kept % 32))
	keep[kept/32] = unix.CapUserData{Effective: mask, Permitted: mask}
	if have == keep {
		return nil
	}
	// The kernel clears the ambient ones with the inheritable ones.
	_, _, errno := psx.Syscall3(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&keep[0])), 0)
	runtime.KeepAlive(&header)
	runtime.KeepAlive(&keep)
	if errno == unix.EPERM && only(have, keep) {
		// The units' filter refuses capset, and the unit has given the one capability alone: as an ambient one, which
		// needs it inheritable. The first is given up without that call, and the other is nothing by itself.
		_, _, errno = psx.Syscall6(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0, 0)
	}
	if errno != 0 {
		return fmt.Errorf("give capabilities up: %w", errno)
	}
	return nil
}

// owners are a user and its group to become.
type owners struct{ uid, gid int }

// CheckUser says whether there is a user of a name or number to go on as; "": nobody is to be.
func CheckUser(name string) error {
	_, err := lookUp(name)
	return errors.Unwrap(err)
}

// lookUp finds a user by name or number; nil where none is named.
func lookUp(name string) (*owners, error) {
	if name == "" {
		return nil, nil
	}
	u, err := user.Lookup(name)
	if _, number := strconv.ParseUint(name, 10, 32); err != nil && number == nil {
		if u, err = user.LookupId(name); err != nil {
			u, err = &user.User{Uid: name, Gid: name}, nil // a number needs no name
		}
	}
	if err != nil {
		return nil, fmt.Errorf("privileges.user: %w", err)
	}
	o := &owners{}
	if o.uid, err = strconv.Atoi(u.Uid); err == nil {
		o.gid, err = strconv.Atoi(u.Gid)
	}
	if err != nil {
		return nil, fmt.Errorf("privileges.user: %w", err)
	}
	return o, nil
}

// become goes on as the user, with the permitted capabilities kept. Root's group stays among its groups, for the
// kernel's list of queues.
func (o *owners) become() error {
	if err := o.takeSocket(); err != nil {
		return err
	}
	if err := prctl(unix.PR_SET_KEEPCAPS, 1); err != nil {
		return fmt.Errorf("keep capabilities: %w", err)
	}
	err := syscall.Setgroups([]int{0})
	if err == nil {
		err = syscall.Setresgid(o.gid, o.gid, o.gid)
	}
	if err == nil {
		err = syscall.Setresuid(o.uid, o.uid, o.uid)
	}
	if err != nil {
		return fmt.Errorf("become user %d: %w", o.uid, err)
	}
	// With another user the kernel turns this off (commit_creds), and the process's own files in /proc would be root's.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become user %d: %w", o.uid, err)
	}
	return nil
}

// followParent has the process get SIGTERM when its parent dies, as the kernel forgets that it was asked for where the
// user changes (commit_creds).
func followParent() error {
	parent := os.Getppid()
	asked := make(chan error)
	go func() {
		// The wish is the thread's: this one does nothing else and lasts.
		runtime.LockOSThread()
		asked <- unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGTERM), 0, 0, 0)
		select {}
	}()
	if err := <-asked; err != nil {
		return fmt.Errorf("ask for a signal at the parent's death: %w", err)
	}
	if os.Getppid() != parent {
		return unix.Kill(os.Getpid(), unix.SIGTERM)
	}
	return nil
}

// takeSocket gives the user the notification socket, where it is one that only this user may write to.
func (o *owners) takeSocket() error {
	path := os.Getenv("NOTIFY_SOCKET")
	if !strings.HasPrefix(path, "/") {
		return nil
	}
	info, err := os.Stat(path) //nolint:gosec // who starts the daemon names the socket
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && info.Mode().Perm()&0o002 == 0 && os.Geteuid() == 0 {
		// Its folder is only to be passed through.
		folder := path[:strings.LastIndexByte(path, '/')]
		err = errors.Join(os.Chmod(folder, 0o711), os.Lchown(path, o.uid, -1)) //nolint:gosec // to be passed through
	}
	if err != nil {
		return fmt.Errorf("give the notification socket to user %d: %w", o.uid, err)
	}
	return nil
}

// only reports whether a thread that has the first has no more than the second, but for what it may inherit.
func only(have, keep [2]unix.CapUserData) bool {
	for i := range have {
		if have[i].Effective != keep[i].Effective || have[i].Permitted != keep[i].Permitted {
			return false
		}
	}
	return true
}
