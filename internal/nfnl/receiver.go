package nfnl

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Mmsghdr is struct mmsghdr of recvmmsg(2) and sendmmsg(2). Go pads it as C
// does, on 32 bit as well as on 64.
type Mmsghdr struct {
	Hdr unix.Msghdr
	// Len is how many bytes the datagram had, or how many of it were sent.
	Len uint32
}

// ErrWouldBlock is returned by a Receive that was not to wait and found the
// socket empty.
var ErrWouldBlock = errors.New("socket is empty")

// Receiver owns the buffers that one recvmmsg call fills. It belongs to one
// goroutine.
type Receiver struct {
	hdrs []Mmsghdr
	iovs []unix.Iovec
	buf  []byte
	size int
}

// NewReceiver makes room for up to count datagrams of up to size bytes each.
// The kernel touches only what it fills, so large buffers for rare large
// packets cost address space, not memory.
func NewReceiver(count, size int) *Receiver {
	r := &Receiver{
		hdrs: make([]Mmsghdr, count),
		iovs: make([]unix.Iovec, count),
		buf:  make([]byte, count*size),
		size: size,
	}
	for i := range r.hdrs {
		r.iovs[i].Base = &r.buf[i*size]
		r.iovs[i].SetLen(size)
		r.hdrs[i].Hdr.Iov = &r.iovs[i]
		r.hdrs[i].Hdr.SetIovlen(1)
	}
	return r
}

// Len is the number of datagrams that one Receive can bring.
func (r *Receiver) Len() int { return len(r.hdrs) }

// Receive takes what the socket holds, at most Len datagrams, and returns how
// many. With wait it blocks until there is at least one; without, an empty
// socket gives ErrWouldBlock. Fewer than Len means that the socket was empty
// when the call ended.
func (r *Receiver) Receive(s *Socket, wait bool) (int, error) {
	for {
		n, errno := r.recvmmsg(s.fd, wait)
		switch errno {
		case 0:
			return n, nil
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return 0, ErrWouldBlock
		default:
			return 0, fmt.Errorf("receive nfnetlink messages: %w", errno)
		}
	}
}

func (r *Receiver) recvmmsg(fd int, wait bool) (int, unix.Errno) {
	hdrs, count := uintptr(unsafe.Pointer(unsafe.SliceData(r.hdrs))), uintptr(len(r.hdrs))
	if wait {
		// A blocked receive has to be a system call that the scheduler knows of
		// (Syscall6): with RawSyscall6 the garbage collector would wait for a packet.
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), hdrs, count, unix.MSG_WAITFORONE, 0, 0)
		return int(n), errno
	}
	// This one ends by itself. A busy reader would have the scheduler hand its
	// processor to another thread, and take it back, for each call.
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), hdrs, count, unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}

// Datagram is the i-th datagram of the last Receive, valid until the next one.
// ok is false where it was longer than the buffer: its tail is lost.
func (r *Receiver) Datagram(i int) (b []byte, ok bool) {
	n := min(int(r.hdrs[i].Len), r.size)
	return r.buf[i*r.size : i*r.size+n : i*r.size+n], r.hdrs[i].Hdr.Flags&unix.MSG_TRUNC == 0
}
