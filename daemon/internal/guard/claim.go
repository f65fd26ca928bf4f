package guard

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Claim makes this process the one that has a table in the network namespace of
// the calling thread, until it ends or closes the result. The claim is an abstract
// socket, which belongs to the namespace and goes with its process, however that
// ends. So a table without a claim was left by a process that was killed.
func Claim(table string) (net.Listener, error) {
	name := "@verdictd/" + table
	for deadline := time.Now().Add(listensWithin); ; time.Sleep(time.Millisecond) {
		l, err := net.Listen("unix", name)
		if err == nil {
			return l, nil
		}
		if !errors.Is(err, unix.EADDRINUSE) {
			return nil, fmt.Errorf("claim table inet %s: %w", table, err)
		}
		switch counts, err := claimCounts(name); {
		case err == nil && counts, err != nil && !errors.Is(err, unix.ECONNREFUSED):
			return nil, fmt.Errorf("another verdictd has table inet %s in this network namespace: stop it, or give this one another table and other queues", table)
		case err == nil, time.Now().After(deadline):
			return net.Listen("unix", "") // the kernel gives it a name (unix(7), autobind)
		}
	}
}

// listensWithin is how long a name may be there before its owner listens. Who never does has claimed nothing.
const listensWithin = 20 * time.Millisecond

// claimCounts reports whether a claim is of somebody who may have a table. Anybody may bind the name, and could keep
// every daemon from starting. The units' users differ, with DynamicUser=, and have root's group.
//
// Errors: ECONNREFUSED where nobody listens there.
func claimCounts(name string) (counts bool, err error) {
	c, err := net.Dial("unix", name)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return false, err
	}
	var cred *unix.Ucred
	var groups []uint32
	var unknown error
	err = raw.Control(func(fd uintptr) {
		cred, unknown = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		groups = peerGroups(int(fd))
	})
	if err = errors.Join(err, unknown); err != nil {
		return false, err
	}
	return cred.Uid == 0 || int(cred.Uid) == os.Getuid() || cred.Gid == 0 || slices.Contains(groups, 0), nil
}

// maxGroups is how many a process may have (NGROUPS_MAX).
const maxGroups = 1 << 16

// peerGroups are the further groups of who listens at a socket's other end, when it began to (SO_PEERGROUPS,
// Linux 4.13); none where the kernel does not tell.
func peerGroups(fd int) []uint32 {
	groups := make([]uint32, maxGroups)
	length := uint32(4 * maxGroups)
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
		uintptr(unsafe.Pointer(unsafe.SliceData(groups))), uintptr(unsafe.Pointer(&length)), 0)
	if errno != 0 {
		return nil
	}
	return groups[:length/4]
}
