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

// received is Mmsghdr with addresses for pointers: those that another process has left
// in memory that outlives it are not to be met by the garbage collector.
type received struct {
	header struct {
		name          uintptr
		nameLen       uint32
		iov, iovLen   uintptr
		control, size uintptr
		flags         int32
	}
	len uint32
}

type vector struct{ base, len uintptr }

// ErrWouldBlock is returned by a Receive that was not to wait and found the
// socket empty.
var ErrWouldBlock = errors.New("socket is empty")

// Receiver owns the buffers that one recvmmsg call fills. It belongs to one
// goroutine.
type Receiver struct {
	messages []received
	memory   []byte // all of it
	buf      []byte
	size     int
	stride   int
}

// alignment of the parts of a receiver's memory: a cache line.
const alignment = 64

// stride is the distance of two buffers: an odd number of cache lines, as the heads of
// all would compete for the same few places of the cache otherwise.
func stride(size int) int {
	lines := (size + alignment - 1) / alignment
	return (lines | 1) * alignment
}

func headLen(count int) int {
	n := count * int(unsafe.Sizeof(received{})+unsafe.Sizeof(vector{}))
	return (n + alignment - 1) / alignment * alignment
}

// ReceiverLen is how many bytes of memory a receiver needs.
func ReceiverLen(count, size int) int { return headLen(count) + count*stride(size) }

// NewReceiver makes room for up to count datagrams of up to size bytes each.
// The kernel touches only what it fills, so large buffers for rare large
// packets cost address space, not memory.
func NewReceiver(count, size int) *Receiver {
	return NewReceiverIn(make([]byte, ReceiverLen(count, size)), count, size)
}

// NewReceiverIn is NewReceiver in memory of ReceiverLen bytes, which begins with a word.
// Datagrams that are in it, as another process received them, stay: see Left.
func NewReceiverIn(memory []byte, count, size int) *Receiver {
	first := unsafe.Pointer(unsafe.SliceData(memory))
	messages := unsafe.Slice((*received)(first), count)
	vectors := unsafe.Slice((*vector)(unsafe.Add(first, uintptr(count)*unsafe.Sizeof(received{}))), count)
	r := &Receiver{messages: messages, memory: memory, buf: memory[headLen(count):], size: size, stride: stride(size)}
	for i := range messages {
		vectors[i] = vector{uintptr(unsafe.Pointer(&r.buf[i*r.stride])), uintptr(size)}
		m := &messages[i].header
		m.name, m.nameLen, m.control, m.size = 0, 0, 0, 0
		m.iov, m.iovLen = uintptr(unsafe.Pointer(&vectors[i])), 1
	}
	return r
}

// Touch makes the kernel find memory for the first bytes of each buffer. A process that
// is killed while it receives loses a datagram whose page is not there yet.
func (r *Receiver) Touch(bytes int) {
	for i := range r.messages {
		if r.Left(i) {
			continue // they are there
		}
		b := r.buf[i*r.stride:][:min(bytes, r.size)]
		for at := 0; at < len(b); at += unix.Getpagesize() {
			b[at] = 0
		}
		b[len(b)-1] = 0
	}
}

// Len is the number of datagrams that one Receive can bring.
func (r *Receiver) Len() int { return len(r.messages) }

// Clear forgets the first n datagrams. Where the memory outlives the process, that is to
// be done before the next Receive: nothing else tells a later process which are new.
func (r *Receiver) Clear(n int) {
	for i := range r.messages[:n] {
		r.messages[i].len = 0
	}
}

// Left reports whether there is an i-th datagram that was received and not cleared.
func (r *Receiver) Left(i int) bool { return r.messages[i].len != 0 }

// Take copies a datagram from the buffers of another receiver, as far as there is room.
func (r *Receiver) Take(i int, from *Receiver, at int) {
	b, whole := from.Datagram(at)
	m := &r.messages[i]
	copy(r.buf[i*r.stride:][:r.size], b)
	m.len, m.header.flags = uint32(len(b)), 0
	if !whole || len(b) > r.size {
		m.header.flags = unix.MSG_TRUNC
	}
}

// Receive takes what the socket holds, at most Len datagrams, and returns how
// many. With wait it blocks until there is at least one; without, an empty
// socket gives ErrWouldBlock. Fewer than Len means that the socket was empty
// when the call ended, or that the next one has an error to tell.
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
	messages, count := uintptr(unsafe.Pointer(unsafe.SliceData(r.messages))), uintptr(len(r.messages))
	if wait {
		// A blocked receive has to be a system call that the scheduler knows of
		// (Syscall6): with RawSyscall6 the garbage collector would wait for a packet.
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), messages, count, unix.MSG_WAITFORONE, 0, 0)
		return int(n), errno
	}
	// This one ends by itself. A busy reader would have the scheduler hand its
	// processor to another thread, and take it back, for each call.
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), messages, count, unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}

// Datagram is the i-th datagram of the last Receive, valid until the next one.
// ok is false where it was longer than the buffer: its tail is lost.
func (r *Receiver) Datagram(i int) (b []byte, ok bool) {
	n := min(int(r.messages[i].len), r.size)
	at := i * r.stride
	return r.buf[at : at+n : at+n], r.messages[i].header.flags&unix.MSG_TRUNC == 0
}
