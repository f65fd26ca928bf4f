package queue

import (
	"context"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"verdictd/internal/nfnl"
)

// A lull is time in which no packet of a load arrives.
type lull struct {
	since time.Time
	most  time.Duration
}

func newLull(most time.Duration) *lull { return &lull{time.Now(), most} }

// after is called after each look for packets. Where there were none it lets others have the CPU, the daemon among them
// where there is only one, and fails when that goes on for too long.
func (l *lull) after(ctx context.Context, n, sent, arrived int) error {
	switch {
	case n > 0:
		l.since = time.Now()
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case time.Since(l.since) > l.most:
		return fmt.Errorf("%d of %d packets sent have not arrived within %v", sent-arrived, sent, l.most)
	}
	_, _, _ = unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0) // cannot fail
	return nil
}

// receiveAll takes what has arrived at a socket, which may be nothing, and says how many datagrams that was.
func receiveAll(fd int, msgs []nfnl.Mmsghdr) (int, error) {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&msgs[0])),
			uintptr(len(msgs)), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EAGAIN:
			return 0, nil
		case unix.EINTR:
			continue
		}
		return 0, errno
	}
}

// sendMessages sends all, which may wait for room in the socket's send buffer.
func sendMessages(fd int, msgs []nfnl.Mmsghdr) error {
	for len(msgs) > 0 {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&msgs[0])),
			uintptr(len(msgs)), 0, 0, 0)
		switch errno {
		case 0:
			msgs = msgs[n:]
		case unix.EINTR:
		default:
			return errno
		}
	}
	return nil
}
