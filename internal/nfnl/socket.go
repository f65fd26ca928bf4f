package nfnl

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Socket is a NETLINK_NETFILTER socket. One goroutine may receive and wait
// while others send; Close must wait until all have ended.
type Socket struct {
	conn          *netlink.Conn
	fd            int
	receiveBuffer int
	waiting       waiting
}

// Config configures a Socket. The zero value works.
type Config struct {
	// ReceiveBuffer is the size to ask for in bytes, as the kernel accounts them; 0 leaves the system's default (net.core.rmem_default).
	// It is set past net.core.rmem_max where the caller may do that, else as far
	// as rmem_max allows; Socket.ReceiveBuffer tells what came of it.
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
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("open nfnetlink socket: %w", err)
	}
	s, err := newSocket(conn, cfg)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return s, nil
}

func newSocket(conn *netlink.Conn, cfg Config) (*Socket, error) {
	if !cfg.ReportLoss {
		if err := conn.SetOption(netlink.NoENOBUFS, true); err != nil {
			return nil, fmt.Errorf("set NETLINK_NO_ENOBUFS: %w", err)
		}
	}
	granted, err := SetReceiveBuffer(conn, cfg.ReceiveBuffer)
	if err != nil {
		return nil, err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("reach the descriptor of the nfnetlink socket: %w", err)
	}
	s := &Socket{conn: conn, receiveBuffer: granted}
	var blockErr error
	err = raw.Control(func(fd uintptr) {
		s.fd = int(fd)
		// mdlayher/netlink made it non-blocking for Go's poller; the data path
		// waits in recvmmsg itself, which saves a wake-up through epoll.
		blockErr = unix.SetNonblock(s.fd, false)
	})
	if err := errors.Join(err, blockErr); err != nil {
		return nil, fmt.Errorf("make the nfnetlink socket block: %w", err)
	}
	return s, nil
}

// SetReceiveBuffer asks for a receive buffer of size bytes (0: the system's
// default) and returns what is in force, in the same unit: the kernel doubles
// what it is told, to account for its own overhead (socket(7), SO_RCVBUF).
func SetReceiveBuffer(conn *netlink.Conn, size int) (granted int, err error) {
	if size > 0 {
		// Tries SO_RCVBUFFORCE, which needs CAP_NET_ADMIN in the initial user
		// namespace, and falls back to SO_RCVBUF.
		if err := conn.SetReadBuffer(size); err != nil {
			return 0, fmt.Errorf("set a receive buffer of %d bytes: %w", size, err)
		}
	}
	got, err := conn.ReadBuffer()
	if err != nil {
		return 0, fmt.Errorf("read the size of the receive buffer: %w", err)
	}
	return got / 2, nil
}

// ReceiveBuffer is the size of the receive buffer in bytes that the kernel
// granted; less than was asked for where net.core.rmem_max held it down.
func (s *Socket) ReceiveBuffer() int { return s.receiveBuffer }

// GrowReceiveBuffer asks for a receive buffer of size bytes from now on and
// returns what the kernel granted.
func (s *Socket) GrowReceiveBuffer(size int) (granted int, err error) {
	granted, err = SetReceiveBuffer(s.conn, size)
	if err == nil {
		s.receiveBuffer = granted
	}
	return granted, err
}

// PortID is the socket's netlink address, as in the second column of
// /proc/net/netfilter/nfnetlink_queue.
func (s *Socket) PortID() uint32 { return s.conn.PID() }

// Control sends control messages, which the kernel carries out in their order,
// and returns the sequence numbers that its answers will carry. The last one is
// acknowledged; of the others only refusals are told, before that. It may be
// called while another goroutine receives.
func (s *Socket) Control(messages ...netlink.Message) (seqs []uint32, err error) {
	if len(messages) == 0 {
		return nil, errors.New("send nfnetlink control messages: there are none")
	}
	for i := range messages {
		messages[i].Header.Flags |= netlink.Request
	}
	messages[len(messages)-1].Header.Flags |= netlink.Acknowledge
	sent, err := s.conn.SendMessages(messages)
	if err != nil {
		return nil, fmt.Errorf("send nfnetlink control messages: %w", err)
	}
	for _, m := range sent {
		seqs = append(seqs, m.Header.Sequence)
	}
	return seqs, nil
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
func (s *Socket) Close() error { return s.conn.Close() }
