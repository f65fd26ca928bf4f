package netlab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// A NetNS is a network namespace held by a file descriptor. Its methods may be
// called from any goroutine; none of them leaves the caller's thread elsewhere.
type NetNS struct {
	file *os.File
}

// NewNetNS makes an empty network namespace with its loopback interface up. The
// namespace lives until it is closed and no thread, process or queued packet
// is left in it.
func NewNetNS() (*NetNS, error) {
	type result struct {
		ns  *NetNS
		err error
	}
	made := make(chan result)
	go func() {
		// Never unlocked: the thread ends with the goroutine, and so no other
		// goroutine can come to run in the new namespace by accident.
		runtime.LockOSThread()
		handle, err := netns.New()
		if err != nil {
			made <- result{err: fmt.Errorf("make a network namespace (needs CAP_SYS_ADMIN, or a user namespace of one's own): %w", err)}
			return
		}
		made <- result{ns: &NetNS{os.NewFile(uintptr(handle), "netns")}}
	}()
	r := <-made
	if r.err != nil {
		return nil, r.err
	}
	if err := r.ns.SetUp("lo"); err != nil {
		return nil, errors.Join(err, r.ns.Close())
	}
	return r.ns, nil
}

// OpenNetNS opens a namespace by its name (`ip netns`) or path: what [NetNS.Path] of another process gave,
// /proc/PID/ns/net, or a file below /run/netns.
func OpenNetNS(nameOrPath string) (*NetNS, error) {
	found, err := FindNetNS(nameOrPath)
	if err != nil {
		return nil, err
	}
	handle, err := netns.GetFromPath(found.Path)
	if err != nil {
		return nil, fmt.Errorf("open network namespace %s: %w", nameOrPath, err)
	}
	return &NetNS{os.NewFile(uintptr(handle), found.Path)}, nil
}

// Close gives the namespace up.
func (n *NetNS) Close() error { return n.file.Close() }

// File is the descriptor that holds the namespace, for
// [os/exec.Cmd.ExtraFiles] or setns. It stays the NetNS's to close.
func (n *NetNS) File() *os.File { return n.file }

// Path names the namespace for other processes of the same user. It is valid
// while this process lives and the NetNS is open.
func (n *NetNS) Path() string {
	return filepath.Join("/proc", fmt.Sprint(os.Getpid()), "fd", fmt.Sprint(n.file.Fd()))
}

// Do runs f on a thread inside the namespace. A child process that f starts
// and a socket that it opens belong to the namespace and may outlive Do.
func (n *NetNS) Do(f func() error) (err error) {
	leave, err := n.Enter()
	if err != nil {
		return err
	}
	// Deferred, so that a panic or runtime.Goexit in f (a test's FailNow) does
	// not leave the goroutine in here.
	defer func() { err = errors.Join(err, leave()) }()
	return f()
}

// Enter locks the calling goroutine to its thread and moves the thread into
// the namespace. Leave, called on the same goroutine, takes it back where it
// was. [NetNS.Do] is the better choice wherever a function's scope fits.
//
// A thread that is there already stays: setns(2) takes CAP_SYS_ADMIN for its own namespace too.
func (n *NetNS) Enter() (leave func() error, err error) {
	runtime.LockOSThread()
	before, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("find the thread's network namespace: %w", err)
	}
	if before.Equal(netns.NsHandle(n.file.Fd())) {
		return func() error {
			runtime.UnlockOSThread()
			return before.Close()
		}, nil
	}
	if err := netns.Set(netns.NsHandle(n.file.Fd())); err != nil {
		runtime.UnlockOSThread()
		return nil, errors.Join(fmt.Errorf("enter network namespace %s (needs CAP_SYS_ADMIN): %w", n.file.Name(), err), before.Close())
	}
	return func() error {
		if err := netns.Set(before); err != nil {
			// The thread stays locked, to end with its goroutine: it must not
			// serve others from the wrong namespace.
			return errors.Join(fmt.Errorf("return to the former network namespace: %w", err), before.Close())
		}
		runtime.UnlockOSThread()
		return before.Close()
	}, nil
}

// SetSysctl writes a setting below /proc/sys/net as the namespace sees it. The
// name is a path there, such as "ipv4/ip_forward".
func (n *NetNS) SetSysctl(name, value string) error {
	return n.Do(func() error {
		if err := os.WriteFile(filepath.Join("/proc/sys/net", name), []byte(value), 0); err != nil {
			return fmt.Errorf("set sysctl net/%s to %s: %w", name, value, err)
		}
		return nil
	})
}

// EnableForwarding makes the namespace a router for IPv4 and IPv6.
func (n *NetNS) EnableForwarding() error {
	return errors.Join(
		n.SetSysctl("ipv4/ip_forward", "1"),
		n.SetSysctl("ipv6/conf/all/forwarding", "1"),
	)
}

// links runs f with a route netlink handle in the namespace.
func (n *NetNS) links(f func(*netlink.Handle) error) error {
	// Without the family the library opens one socket of each that it knows, and fails where the kernel lacks one
	// (XFRM).
	h, err := netlink.NewHandleAt(netns.NsHandle(n.file.Fd()), unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open route netlink in %s: %w", n.Path(), err)
	}
	defer h.Close()
	return f(h)
}
