package nfnl

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Socket is a NETLINK_NETFILTER socket. One goroutine may receive and wait
// while others send; Control is for one at a time. Close must wait until all have
// ended.
//
// It is not mdlayher/netlink's, which registers its sockets with Go's poller:
// whenever a packet came, the kernel would wake up a thread of the runtime that
// waits there for some other descriptor.
type Socket struct {
	fd            int
	port          uint32
	seq           uint32 // of the last control message
	receiveBuffer atomic.Int64
	waiting       waiting
}

// Config configures a Socket. The zero value works.
type Config struct {
	// ReceiveBuffer is the size to ask for in bytes, as the kernel accounts them; 0 leaves the system's default
	// (net.core.rmem_default). It is set past net.core.rmem_max where the caller may do that, else as far as rmem_max
	// allows; Socket.ReceiveBuffer tells what came of it.
	ReceiveBuffer int

	// ReportLoss makes Receive return ENOBUFS, once, where the kernel had to drop
	// messages as the buffer was full. A socket that has reported it refuses every
	// message until it was read empty (NETLINK_S_CONGESTED in the kernel's
	// netlink_broadcast_deliver), which turns a short overrun into a longer one,
	// but one with a beginning and an end. Without it (NETLINK_NO_ENOBUFS) the
	// loss shows in the queue's counters only.
	ReportLoss bool
}

// Dial opens a socket in the network namespace of the calling thread. It blocks.
func Dial(cfg Config) (*Socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("open nfnetlink socket: %w", err)
	}
	s := &Socket{fd: fd}
	if err := s.prepare(cfg); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Socket) prepare(cfg Config) error {
	if err := unix.Bind(s.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("bind nfnetlink socket: %w", err)
	}
	address, err := unix.Getsockname(s.fd)
	if err != nil {
		return fmt.Errorf("read the address of the nfnetlink socket: %w", err)
	}
	s.port = address.(*unix.SockaddrNetlink).Pid
	if !cfg.ReportLoss {
		if err := unix.SetsockoptInt(s.fd, unix.SOL_NETLINK, unix.NETLINK_NO_ENOBUFS, 1); err != nil {
			return fmt.Errorf("set NETLINK_NO_ENOBUFS: %w", err)
		}
	}
	_, err = s.GrowReceiveBuffer(cfg.ReceiveBuffer)
	return err
}

// ErrNotOurs says that a descriptor is no nfnetlink socket of this network namespace.
var ErrNotOurs = errors.New("it is no nfnetlink socket of this network namespace")

// Adopt makes a Socket of one that another process has dialled. Its buffer is what it
// was where cfg names none. Messages may wait in it, and answers to that process. On an
// error the descriptor stays open.
//
// Errors: ErrNotOurs.
func Adopt(fd int, cfg Config) (*Socket, error) {
	for option, want := range map[int]int{unix.SO_DOMAIN: unix.AF_NETLINK, unix.SO_PROTOCOL: unix.NETLINK_NETFILTER} {
		if got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, option); err != nil || got != want {
			return nil, ErrNotOurs
		}
	}
	if err := inThisNamespace(fd); err != nil {
		return nil, err
	}
	address, err := unix.Getsockname(fd)
	if err != nil {
		return nil, fmt.Errorf("read the address of the nfnetlink socket: %w", err)
	}
	// Answers to the other process have its numbers.
	s := &Socket{fd: fd, port: address.(*unix.SockaddrNetlink).Pid, seq: uint32(time.Now().UnixNano() >> 10)}
	if err := unix.SetNonblock(fd, false); err != nil {
		return nil, fmt.Errorf("have the nfnetlink socket wait: %w", err)
	}
	unix.CloseOnExec(fd)
	granted, err := SetReceiveBuffer(fd, cfg.ReceiveBuffer)
	s.receiveBuffer.Store(int64(granted))
	return s, err
}

// inThisNamespace compares a socket's network namespace with the calling thread's
// (SIOCGSKNS, Linux 4.10; it takes CAP_NET_ADMIN).
func inThisNamespace(fd int) error {
	theirs, err := unix.IoctlRetInt(fd, unix.SIOCGSKNS)
	if err != nil {
		return fmt.Errorf("find out the network namespace of a socket: %w", err)
	}
	defer func() { _ = unix.Close(theirs) }()
	var a, b unix.Stat_t
	if err := errors.Join(unix.Fstat(theirs, &a), unix.Stat("/proc/thread-self/ns/net", &b)); err != nil {
		return fmt.Errorf("find out the network namespace of a socket: %w", err)
	}
	if a.Dev != b.Dev || a.Ino != b.Ino {
		return ErrNotOurs
	}
	return nil
}

// SetReceiveBuffer asks for a receive buffer of size bytes (0: the system's
// default) for a socket and returns what is in force, in the same unit: the kernel
// doubles what it is told, to account for its own overhead (socket(7), SO_RCVBUF).
func SetReceiveBuffer(fd, size int) (granted int, err error) {
	if size > 0 {
		// The first needs CAP_NET_ADMIN in the initial user namespace.
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size) != nil {
			err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, size)
		}
		if err != nil {
			return 0, fmt.Errorf("set a receive buffer of %d bytes: %w", size, err)
		}
	}
	got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	if err != nil {
		return 0, fmt.Errorf("read the size of the receive buffer: %w", err)
	}
	return got / 2, nil
}

// ReceiveBuffer is the size of the receive buffer in bytes that the kernel
// granted; less than was asked for where net.core.rmem_max held it down.
func (s *Socket) ReceiveBuffer() int { return int(s.receiveBuffer.Load()) }

// GrowReceiveBuffer asks for a receive buffer of size bytes from now on and
// returns what the kernel granted. It may be called while another goroutine receives.
func (s *Socket) GrowReceiveBuffer(size int) (granted int, err error) {
	granted, err = SetReceiveBuffer(s.fd, size)
	if err == nil {
		s.receiveBuffer.Store(int64(granted))
	}
	return granted, err
}

// Descriptor is the socket's, for who keeps it beyond this process.
func (s *Socket) Descriptor() int { return s.fd }

// PortID is the socket's netlink address, as in the second column of
// /proc/net/netfilter/nfnetlink_queue.
func (s *Socket) PortID() uint32 { return s.port }

// Control sends control messages, which the kernel carries out in their order,
// and returns the sequence numbers that its answers will carry. The last one is
// acknowledged; of the others only refusals are told, before that. It may be
// called while another goroutine receives.
func (s *Socket) Control(messages ...netlink.Message) (seqs []uint32, err error) {
	if len(messages) == 0 {
		return nil, errors.New("send nfnetlink control messages: there are none")
	}
	var b []byte
	for i, m := range messages {
		s.seq++
		m.Header.Sequence, m.Header.PID = s.seq, s.port
		m.Header.Flags |= netlink.Request
		if i == len(messages)-1 {
			m.Header.Flags |= netlink.Acknowledge
		}
		m.Header.Length = uint32(unix.NLMSG_HDRLEN+len(m.Data)+unix.NLMSG_ALIGNTO-1) &^ (unix.NLMSG_ALIGNTO - 1)
		encoded, err := m.MarshalBinary()
		if err != nil {
			return nil, fmt.Errorf("lay out nfnetlink control messages: %w", err)
		}
		b, seqs = append(b, encoded...), append(seqs, s.seq)
	}
	return seqs, s.Send(b)
}

// Send gives the kernel all messages in b, which it handles in their order
// before Send returns. A message that the kernel refuses is answered with an
// error message on the socket; the others are carried out all the same.
func (s *Socket) Send(b []byte) error {
	for {
		// An nfnetlink socket that was never connected sends to the kernel, so no
		// address is needed.
		//
		// The call runs packets through the rest of the network stack. With Syscall6
		// the runtime's monitor would take the processor away in each one that lasts
		// 20 us, and wake up as often to do so, which cost a quarter of all CPU time per
		// packet. It never waits for anybody, and what it does is bounded by b (some
		// 100 us for 64 verdicts), so the collector's wait for it is bounded too.
		_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(s.fd),
			uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), 0, 0, 0)
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
			continue
		default:
			return fmt.Errorf("send %d bytes of nfnetlink messages: %w", len(b), errno)
		}
	}
}

// Close frees the socket. The kernel destroys a queue that was bound to it and
// drops what that queue still holds.
func (s *Socket) Close() error { return unix.Close(s.fd) }
