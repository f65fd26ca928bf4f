package nfnl

import (
	"errors"
	"fmt"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Join subscribes the socket to a multicast group (NFNLGRP_*).
//
// It does so twice. Where nf_conntrack_events is 2, entries get events if anybody on the machine listens to some:
// one word tells that (nf_ctnetlink_has_listener, Linux 5.19). Its bit is set before the socket is in the group
// (nfnetlink_bind), and cleared by who leaves and finds nobody there (nfnetlink_unbind), so that a socket that joins in
// that moment hears of no entry from then on. At the second time it is in the group already.
func (s *Socket) Join(group uint32) error {
	join := func() error {
		return unix.SetsockoptInt(s.fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, int(group))
	}
	err := join()
	if err == nil {
		err = join()
	}
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("join nfnetlink group %d: %w: needs CAP_NET_ADMIN in the network namespace", group, err)
	case err != nil:
		return fmt.Errorf("join nfnetlink group %d: %w", group, err)
	}
	return nil
}

// Leave ends what Join began. What is in the buffer stays there.
func (s *Socket) Leave(group uint32) error {
	if err := unix.SetsockoptInt(s.fd, unix.SOL_NETLINK, unix.NETLINK_DROP_MEMBERSHIP, int(group)); err != nil {
		return fmt.Errorf("leave nfnetlink group %d: %w", group, err)
	}
	return nil
}

// SetFilter makes the kernel keep messages from the socket for which the program
// returns 0. The answers to control messages pass it as well. Set it before
// Join: a message that is there already stays.
func (s *Socket) SetFilter(program []bpf.RawInstruction) error {
	if len(program) == 0 {
		return errors.New("attach a filter: it has no instructions")
	}
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: (*unix.SockFilter)(unsafe.Pointer(&program[0]))}
	if err := unix.SetsockoptSockFprog(s.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &filter); err != nil {
		return fmt.Errorf("attach a filter of %d instructions: %w", len(program), err)
	}
	return nil
}

// Memory is the kernel's account of a socket's receive buffer.
type Memory struct {
	Used  uint32 // by what waits in it
	Size  uint32 // twice what ReceiveBuffer says
	Drops uint32 // messages that did not fit, since the socket was opened
}

// Memory reads the account. ok is false before Linux 4.12, which has no
// SO_MEMINFO.
func (s *Socket) Memory() (m Memory, ok bool) {
	var info [unix.SK_MEMINFO_VARS]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(s.fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 || uintptr(size) != unsafe.Sizeof(info) {
		return Memory{}, false
	}
	return Memory{info[unix.SK_MEMINFO_RMEM_ALLOC], info[unix.SK_MEMINFO_RCVBUF], info[unix.SK_MEMINFO_DROPS]}, true
}

// Forever is a wait without an end.
const Forever time.Duration = -1

// Wait returns when the socket holds a message or an error, when the alarm is
// rung (nil: there is none), or after a time.
func (s *Socket) Wait(a *Alarm, d time.Duration) error {
	alarm := -1 // ignored by poll
	if a != nil {
		alarm = a.fd
	}
	return s.waiting.poll(alarm, s.fd, d)
}

// An Alarm ends waits from another goroutine. Several may wait for one alarm.
type Alarm struct {
	fd      int
	waiting waiting // for Sleep
	// closing: who rings may be late, and the number is another file's then.
	closing sync.Mutex
	closed  bool
}

// NewAlarm makes an alarm. Who makes it closes it, after the last wait.
func NewAlarm() (*Alarm, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("make an event descriptor: %w", err)
	}
	return &Alarm{fd: fd}, nil
}

// Ring ends the waits under way and all later ones, until Reset. After Close it does nothing.
func (a *Alarm) Ring() {
	a.closing.Lock()
	defer a.closing.Unlock()
	if a.closed {
		return
	}
	one := [8]byte{1, 1, 1, 1, 1, 1, 1, 0} // any number but 0, whatever the byte order
	_, _ = unix.Write(a.fd, one[:])        // fails only where it rings already
}

// Reset silences the alarm. Reset it before looking for what it was rung for: a
// ring that comes while looking then counts for the next wait.
func (a *Alarm) Reset() {
	var rings [8]byte
	_, _ = unix.Read(a.fd, rings[:]) // fails only where it is silent
}

// Sleep returns after a time, or when the alarm is rung. For one goroutine.
func (a *Alarm) Sleep(d time.Duration) error { return a.waiting.poll(a.fd, -1, d) }

// Close frees the alarm.
func (a *Alarm) Close() error {
	a.closing.Lock()
	defer a.closing.Unlock()
	a.closed = true
	return unix.Close(a.fd)
}

// waiting is what a call of ppoll needs, kept so that a wait allocates nothing.
type waiting struct {
	fds     [2]unix.PollFd
	timeout unix.Timespec
}

func (w *waiting) poll(alarm, socket int, d time.Duration) error {
	w.fds[0] = unix.PollFd{Fd: int32(alarm), Events: unix.POLLIN}
	w.fds[1] = unix.PollFd{Fd: int32(socket), Events: unix.POLLIN}
	var timeout *unix.Timespec
	if d != Forever {
		w.timeout = unix.NsecToTimespec(int64(max(d, 0)))
		timeout = &w.timeout
	}
	// Interrupted by the runtime's own signals: callers look again anyhow.
	if _, err := unix.Ppoll(w.fds[:], timeout, nil); err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("wait for nfnetlink messages: %w", err)
	}
	return nil
}
