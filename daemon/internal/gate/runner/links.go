package runner

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// unrest is how long after a device's change packets may still leave queues because
// of it: the kernel tells of it just before it takes them out (__dev_notify_flags).
const unrest = int64(20 * time.Millisecond)

// links tells when devices change: with one that goes down, its packets leave all
// queues without a verdict.
type links struct {
	fd    int
	buf   [64]byte
	until int64
}

// openLinks listens in the calling thread's network namespace.
func openLinks() (*links, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("listen for devices that go: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: unix.RTMGRP_LINK}); err != nil {
		return nil, errors.Join(fmt.Errorf("listen for devices that go: %w", err), unix.Close(fd))
	}
	return &links{fd: fd}, nil
}

// unrest reports whether packets may have left queues without a verdict before a
// reading that was taken just now.
func (l *links) unrest(now int64) bool {
	for {
		n, _, err := unix.Recvfrom(l.fd, l.buf[:], 0)
		switch {
		case err == unix.EAGAIN:
			return now < l.until
		case err == unix.EINTR:
		case err != nil || goes(l.buf[:n]): // or the socket was too small for many
			l.until = now + unrest
		}
	}
}

// goes reports whether a message tells of a device that goes, or goes down. It is a
// struct nlmsghdr and a struct ifinfomsg (include/uapi/linux/netlink.h, rtnetlink.h).
func goes(m []byte) bool {
	if len(m) < unix.SizeofNlMsghdr+unix.SizeofIfInfomsg {
		return false
	}
	kind, info := binary.NativeEndian.Uint16(m[4:]), m[unix.SizeofNlMsghdr:]
	flags, change := binary.NativeEndian.Uint32(info[8:]), binary.NativeEndian.Uint32(info[12:])
	const comes = 1<<32 - 1 // as what changes of a device that is new
	down := change != comes && change&unix.IFF_UP != 0 && flags&unix.IFF_UP == 0
	return kind == unix.RTM_DELLINK || kind == unix.RTM_NEWLINK && down
}

func (l *links) close() error { return unix.Close(l.fd) }
